"""rr:: markers -> standard ONNX, and the part of a file that decides, cut out of it again."""

from rr_export.lowering.prelude import DRAWS, GATE, INTERFACES, PATH, RESERVED, SEED, TAKEN

__all__ = ["DRAWS", "GATE", "INTERFACES", "PATH", "RESERVED", "SEED", "TAKEN"]
