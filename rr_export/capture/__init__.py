"""Model and arguments -> one flat graph with rr:: markers, and the log of every site's calls."""
