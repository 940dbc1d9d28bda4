"""Whether a static file is that of a bundle's most probable path: only then is a ratio of their times one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rr_runtime.bundle import Bundle, open_bundle
from rr_runtime.golden import difference
from rr_runtime.manifest import MANIFEST
from rr_runtime.target import DEFAULT
from rr_runtime.tools.opening import open_session


def check_frozen(
    bundle: Bundle, frozen: Path, routes: Sequence[int], feeds: Mapping[str, NDArray[Any]], *, threads: int
) -> None:
    """The static file is of the bundle's sites on these routes, and computes the same on the CPU.

    Outputs are compared with those of the bundle's own model, where it has one that takes a path.

    Args:
        bundle: the routed bundle.
        frozen: the folder that ``rr-export freeze`` wrote.
        routes: a route for every site.
        feeds: the model's own inputs.
        threads: the number of threads inside one operator.

    Raises:
        BundleError: the folder is damaged.
        ValueError: it is of another model or path.
    """
    other = open_bundle(frozen)
    advice = "name the folder that rr-export freeze wrote for this path of this bundle"
    about = json.loads((frozen / MANIFEST).read_text()).get("frozen") if frozen.is_dir() else None
    if not isinstance(about, dict):
        raise ValueError(f"frozen: expected a bundle folder of one path, got {frozen}, which is none; {advice}")
    names = [site.name for site in bundle.manifest.sites]
    if about.get("sites") != names:
        raise ValueError(f"frozen: expected the sites {names}, got {about.get('sites')} in {frozen}; {advice}")
    path = list(about.get("path", ()))
    if len(path) != len(routes) or any(f not in (-1, r) for f, r in zip(path, routes, strict=True)):
        raise ValueError(f"frozen: expected the path {list(routes)}, got {path} in {frozen}; {advice}")
    for kind in ("inputs", "outputs"):
        expected, found = getattr(bundle.manifest, kind), getattr(other.manifest, kind)
        if expected != found:
            raise ValueError(f"frozen: expected {kind} {expected}, got {found} in {frozen}; {advice}")
    if bundle.model is None or bundle.manifest.interface not in ("explicit", "host", "gates"):
        return
    routed = open_session(bundle.path, "cpu", DEFAULT, threads=threads).run(feeds, path=routes, seed=0)
    static = open_session(frozen, "cpu", DEFAULT, threads=threads).run(feeds)
    for name, expected in routed.outputs.items():
        wrong = difference(expected, static.outputs[name], rtol=bundle.manifest.rtol, atol=bundle.manifest.atol)
        if wrong is not None:
            raise ValueError(f"frozen: output {name!r} of {frozen}: {wrong}; {advice}")
