"""``python -m rr_export``: the command line."""

from rr_export.cli import main

main()
