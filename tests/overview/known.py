"""A bundle of which everything is known, one of which nothing is, and others; names in them try to be markup."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import rr_export as rr
from rr_export.report.report import Check, Report
from rr_export.tools.measuring import measure
from tests.quality.routed import Routed, batches, margin

HOSTILE = "</code></td><script>alert(1)</script><img src=x onerror=\"alert('2')\"> & $x_1$ [bold]b[/] \x07"
FILES = ("bench", "front", "attribution", "same", "other", "doctor", "check")


def odd() -> nn.Module:
    torch.manual_seed(0)
    return Routed(same="<b>same</b> & so").eval()  # a name that would be markup


def example() -> torch.Tensor:
    return torch.from_numpy(batches()[0][0]["x"])


def worth(outputs: Mapping[str, Any], target: Any) -> NDArray[np.float64]:
    return np.asarray(margin(outputs, target))


worth.__name__ = HOSTILE


def known(folder: Path) -> Path:
    """Returns the folder of a bundle with profiles, a menu and a proof; beside it are the files of ``FILES``.

    The reports of proofs are written by hand, as proofs take long: tests of parity make real ones.
    """
    place = folder / "out"
    bundle = rr.export(odd(), (example(),), dynamic_shapes={"x": {0: "batch"}})
    front = rr.search(bundle, batches(), worth, bundle.costs("flops"))
    half = bundle.plan.with_policies([rr.Uniform(2)] * 4)
    bundle = front.menu(bundle).with_profile(HOSTILE, half, measured=rr.Measured(0.7, 0.1, 0.05, HOSTILE))
    bundle = bundle.with_profile("not measured", [1, 1, 0, -1])
    bundle.save(place)
    bundle.write_parity(proof("out", *(Check(name, True, f"all of {HOSTILE}") for name in ("paths", "law"))).to_json())
    rr.search(place, batches(), worth, bundle.costs("flops"), results=folder / "values.jsonl")
    front.save(folder / "front.json")
    rr.attribute(place, batches(), worth, results=folder / "values.jsonl").save(folder / "attribution.json")
    told = {
        "bench": measure(["bench", str(place), "--runs", "10", "--loads", "0", "--seed", "0"]),
        "doctor": measure(["doctor", str(place), "--provider", "cpu"]),
        "check": measure(["check", str(place)]),
        "same": proof("same.onnx", Check("paths", True, "all of them")).to_json(),
        "other": proof(HOSTILE, Check("law", True, ""), Check("paths", False, "", (f"path [0], {HOSTILE}",))).to_json(),
    }
    for name, figures in told.items():
        (folder / f"{name}.json").write_text(json.dumps(figures), encoding="utf-8")
    return place


def proof(subject: str, *checks: Check) -> Report:
    return Report(checks, subject, {"rr-export": "0.1.0", "odd": HOSTILE})


def files_of(place: Path) -> list[Path]:
    """The files that are known beside such a bundle."""
    return [place.parent / f"{name}.json" for name in FILES]


def plain() -> rr.Bundle:
    """A bundle without sites: of which nothing is known, and there is little to know."""
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="expected a model with sites"):
        return rr.export(nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval(), (torch.ones(2, 4),), golden=0)


def bare() -> rr.Bundle:
    """A bundle of layers, of which nothing is known."""
    torch.manual_seed(0)
    model = nn.Sequential(*(rr.LayerChoice(nn.Linear(4, 4), 0.8) for _ in range(3))).eval()
    return rr.export(model, (torch.ones(2, 4),), golden=0)


def learned() -> rr.Bundle:
    """Layers whose probabilities were learned, one of them by a chain."""
    torch.manual_seed(0)
    chain = rr.LearnedMarkov([2, 2])
    policies = (rr.Learned(2), chain.step(0), chain.step(1))
    model = nn.Sequential(*(rr.LayerChoice(nn.Linear(4, 4), policy=policy) for policy in policies)).eval()
    return rr.export(model, (torch.ones(2, 4),), golden=0)
