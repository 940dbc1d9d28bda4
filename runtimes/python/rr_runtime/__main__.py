"""``python -m rr_runtime``: what execution providers do with a bundle, as JSON."""

from __future__ import annotations

from rr_runtime.tools.command import main

if __name__ == "__main__":
    main()
