"""``python -m rr_runtime``: the command line."""

from __future__ import annotations

from rr_runtime.cli import main

if __name__ == "__main__":
    main()
