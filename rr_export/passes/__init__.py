"""Graph passes on the lowered model, one per file; none may run before lowering."""

from rr_export.passes.place_weights import place_weights
from rr_export.passes.share_weights import copy_shared_weights
from rr_export.passes.simplify import simplify
from rr_export.passes.unique_names import name_uniquely

__all__ = ["copy_shared_weights", "name_uniquely", "place_weights", "simplify"]
