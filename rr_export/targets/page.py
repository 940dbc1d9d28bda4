"""The table of targets as the page ``docs/targets.md``."""

from __future__ import annotations

from rr_export.targets.provider_table import TARGETS
from rr_runtime.faults import FAULTS
from rr_runtime.provider_options import SETTINGS

HEAD = """# Targets

What `rr.export(..., target=...)` and `rr-export package --target ...` make for each execution provider, and why. The
table is `rr_export/targets/provider_table.py`; this page is made from it by `python -m rr_export.targets.page`.

| target | form | weights of a branch | sizes | precisions | opset |
|---|---|---|---|---|---|
"""

PRECISION = """
The first precision is the default, and the only one that changes no value. `qdq` and `qdq16` need inputs to calibrate
with (`--calibration`; else those of the golden cases), and are proven as they are made, as `rr-export verify --target`
does: a form that is too far from the model, or on some path nearer to another path, is refused, and the text says what
holds.
"""


def page() -> str:
    """Returns the page."""
    where = {"leaf": "in the branch", "outer": "around its `If`"}
    rows = [
        f"| `{t.name}` | {t.form}{f', `{t.interface}`' if t.interface else ''} | "
        f"{'in its file' if t.form == 'segments' else where[t.weights]} | "
        f"{'fixed' if t.static else 'any'} | {', '.join(t.precisions)} | {t.opset} |\n"
        for t in TARGETS.values()
    ]
    parts = [HEAD, *rows, PRECISION]
    for target in TARGETS.values():
        parts.append(f"\n## {target.name}\n\n{target.why}\n")
        if target.faults:
            parts.append("\nGood to know:\n\n" + "".join(f"- {fault}\n" for fault in target.faults))
        settings = [s for s in SETTINGS if s.provider.removesuffix("ExecutionProvider").lower() == target.name]
        if settings:
            listed = [f"- `{s.option}={s.value}`: {s.reason}\n" for s in settings]
            parts.append(
                "\nOptions that `rr_runtime` gives the provider, unless the caller says others:\n\n" + "".join(listed)
            )
        if target.name in FAULTS:
            listed = [f"- {fault.what}\n" for fault in FAULTS[target.name]]
            parts.append(
                "\nRefused by `rr_runtime`, as the results would be wrong without an error:\n\n" + "".join(listed)
            )
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
