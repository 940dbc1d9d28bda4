"""Tasks on which random routing is used: each trains a routed model and its rivals, and compares them from files."""
