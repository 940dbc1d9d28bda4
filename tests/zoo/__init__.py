"""Models whose routing is ordinary Python, one file a family; each is proven or refused by ``test_zoo.py``."""
