"""Tests of rr_export and rr_runtime; the modules mirror those of the packages."""
