"""rr:: markers -> standard ONNX, and the part of a file that decides, cut out of it again."""

from rr_export.lowering.lower import GATE, RESERVED, lower
from rr_export.lowering.prelude import DRAWS, INTERFACES, PATH, SEED, TAKEN

__all__ = ["DRAWS", "GATE", "INTERFACES", "PATH", "RESERVED", "SEED", "TAKEN", "lower"]
