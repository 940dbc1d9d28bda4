"""Measures what execution providers do with a bundle: ``python -m rr_runtime doctor | place | bench``.

Everything here needs onnxruntime and numpy only, so it runs wherever a bundle runs, and gives plain JSON. The command
``rr-export`` shows the same results as tables and plots.
"""
