"""Models of third-party packages, unchanged, one line each; every one is proven or refused by ``test_packages.py``."""
