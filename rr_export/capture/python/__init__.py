"""Routing that is written as ordinary Python: a model's own code, run so that every decision goes all its ways."""
