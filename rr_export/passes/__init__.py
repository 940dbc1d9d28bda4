"""Graph passes on the lowered model, one per file; none may run before lowering."""

from rr_export.passes.place_weights import place_weights
from rr_export.passes.share_weights import copy_shared_weights
from rr_export.passes.simplify import simplify

__all__ = ["copy_shared_weights", "place_weights", "simplify"]
