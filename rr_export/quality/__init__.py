"""How good paths are by a metric of the user's: over a law, against their costs, and which site matters for it."""
