"""The proof that a file and a model are the same: path by path, seed by seed, in law, and in laziness."""
