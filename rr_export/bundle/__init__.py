"""What is shipped: the bundle with its manifest and weights, in memory and on disk."""
