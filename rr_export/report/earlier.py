"""What stands in the beginning of a report of each form: what makes it known, and so replaceable by a new one."""

from __future__ import annotations

import re

# What pictures say that they were made by.
BENCH, DEMO, MENU, SEARCH = "rr-export bench", "rr-export demo", "rr-export menu", "rr-export search"

# None: a report of that form is added to what is there, as a job's summary has room for several.
EARLIER: dict[str, re.Pattern[bytes] | None] = {
    "json": re.compile(rb'\A\{\s*("format": "rr\.(parity|changes|lint|front|attribution)"|"tool": "bench")'),
    "junit": re.compile(rb'<testsuites name="rr-export '),
    "sarif": re.compile(rb'"driver": \{\s*"name": "rr-export '),
    "codequality": re.compile(rb'\A\[(\]|\s*\{\s*"check_name": "RR\d)'),
    "table": re.compile(rb"\A\s*\d+ files?: "),
    "plot": re.compile(f"{BENCH}|{SEARCH}".encode()),
    "menu": re.compile(MENU.encode()),
    "demo": re.compile(DEMO.encode()),
    "markdown": None,
}
