"""Graph passes on the lowered model, one per file; none may run before lowering."""
