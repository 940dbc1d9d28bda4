"""What changed from one model to another: sites, laws, paths, weights, graph, outputs, size and latency."""
