"""The rules of the linter, one family a file."""
