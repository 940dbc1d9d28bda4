"""Tests of rr_runtime, on files built by hand: they need neither torch nor the exporter."""
