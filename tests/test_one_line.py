"""What every public class says of itself fits one line, however much it holds."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import rr_export as rr
import rr_runtime
from rr_export.bundle.bundle_reader import load
from rr_export.bundle.contents import TargetFiles
from rr_export.quality.attribution import SiteWorth
from rr_export.quality.front import PricedPath
from rr_export.quality.path_values import PathValue
from rr_export.report.changes import Aspect, Changes
from rr_export.report.report import Check, Report
from rr_export.wrap import plan_of
from rr_runtime.bundle import open_bundle
from rr_runtime.one_line import MOST
from rr_runtime.target import Target
from rr_runtime.tuning import FUSIONS
from tests import nets

MANY = 60
VALUE = PathValue((0,) * MANY, 1e-9, 1e-9, (1e-9,) * MANY, (1,) * MANY)
WORTH = SiteWorth("layers." * MANY, "skip", -1e-300, 1e300)
PRICED = PricedPath((0,) * MANY, 1e-9, 1e-9, 1e300, 1e-9)
FIGURES = {"mean": -1e-300, "std": 1e-300, "worst": VALUE, "interval": (-1e300, 1e300), "paths": (VALUE,) * MANY}


def long_lines(objects: dict[str, Any]) -> list[str]:
    """Returns one line for each object that does not say in one line of its own what it is."""
    found = []
    for name, thing in objects.items():
        said = repr(thing)
        if isinstance(thing, nn.Module):  # torch writes a line for each module in it
            said = f"{type(thing).__name__}({thing.extra_repr()})"
        if len(said) > MOST or "\n" in said or type(thing).__name__ not in said or " object at 0x" in said:
            found.append(f"{name}: {said[:60]!r}, {len(said)} characters")
    return found


def filled(cls: type, **given: Any) -> Any:
    """Returns an object of a dataclass whose other fields hold long texts."""
    names = [name for name in inspect.signature(cls).parameters if name not in given]
    return cls(**dict.fromkeys(names, "word " * MANY), **given)


def test_every_public_class_says_in_one_line_what_it_is(saved: Path, everything_model: Any) -> None:
    bundle, opened = load(saved), open_bundle(saved)
    session, inputs = rr_runtime.Session(saved), {"x": nets.example().numpy()}
    chain = rr.Markov(np.full(MANY, 1 / MANY), np.full((MANY, MANY), 1 / MANY))
    check = Check("paths", False, "all " * MANY, ("path [0, 1], output 'y': far apart " * MANY,), {"all": [0] * MANY})
    aspect = Aspect("weights", True, "all " * MANY, ("- " + "weight" * MANY,))
    report = Report((check,) * MANY, "out/" * MANY, {})
    long = nn.Sequential(*(rr.LayerChoice(nn.Linear(2, 2), 0.5) for _ in range(MANY)))
    objects = {
        "Attribution": filled(rr.Attribution, value=1e-300, without=-1e300, sites=(WORTH,) * MANY),
        "Bundle": bundle,
        "Bundle in memory": rr.Bundle(bundle.model, bundle.manifest, parity={"passed": False}),
        "Categorical": rr.Categorical(np.full(MANY, 1 / MANY)),
        "Costs": rr.Costs("operations on average " * MANY, 1.0, ((0.0,) * MANY,) * MANY),
        "Evaluation": filled(rr.Evaluation, **FIGURES),
        "Finding": filled(rr.Finding, code="RR103", severity="error"),
        "Front": filled(rr.Front, evaluated=(PRICED,) * MANY),
        "Gate": rr.Gate(nets.PooledLogits(MANY), MANY),
        "LayerChoice": everything_model.first,
        "Learned": rr.Learned(MANY),
        "LearnedMarkov": rr.LearnedMarkov([MANY] * MANY),
        "Markov": chain,
        "Measured": rr.Measured(1 / 3, 2 / 3, 0.1, "word " * MANY),
        "OperationChoice": everything_model.op,
        "ParameterChoice": everything_model.sets,
        "ParityError": rr.ParityError(f"verify: expected the same model, got differences\n{report}", report),
        "RRExportError": rr.RRExportError("short"),
        "Plan": plan_of(long),
        "Plan without sites": plan_of(nn.Linear(2, 2)),
        "Profile": rr.Profile(path=(1,) * MANY),
        "Profile of a law": rr.Profile(law=plan_of(long), measured=rr.Measured(0.5, 0.5, 0.1, "word " * MANY)),
        "Report": report,
        "Site": rr.Site("layers." * MANY, tuple(map(str, range(MANY))), rr.Uniform(MANY)),
        "Task": rr.Task("key " * MANY, {"payload": [0] * MANY}),
        "Uniform": rr.Uniform(MANY),
        "BundleError": rr_runtime.BundleError("short"),
        "ProviderError": rr_runtime.ProviderError("short"),
        "RuntimeFailure": rr_runtime.RuntimeFailure("short"),
        "EnsembleResult": session.ensemble(inputs, runs=2),
        "Explanation": session.explain(inputs, seed=1),
        "PreparedRun": session.prepare({"x": inputs["x"].shape}),
        "Result": session.run(inputs),
        "Session": session,
        "Tuning": rr_runtime.Tuning(64, False, False, FUSIONS),
    }
    parts = {
        "Aspect": aspect,
        "Changes": Changes("out/" * MANY, "other/" * MANY, (aspect,) * MANY),
        "Check": check,
        "GoldenCase": bundle.golden[0],
        "PathValue": VALUE,
        "PricedPath": PRICED,
        "MarkovStep": chain.step(1),
        "Learned step": rr.LearnedMarkov([MANY] * MANY).step(1),
        "TargetFiles": TargetFiles(
            {"form": "routed", "precision": "float32", "provider": "cpu"}, {"a.onnx": b"a" * 999}
        ),
        "Bundle of the runtime": opened,
        "Manifest": session.manifest,
        "Policy of a manifest": session.sites[-1].policy,
        "Site of a manifest": session.sites[0],
        "Tensor": session.inputs[0],
        "Target": filled(Target, form="routed", model="a.onnx", program=(), paths=()),
    }
    public = {
        name
        for package in (rr, rr_runtime)
        for name in package.__all__
        if inspect.isclass(getattr(package, name)) and name not in objects
    }
    assert public == {"forced", "recorded", "seeded"} & public  # blocks, which nobody looks at
    assert long_lines(objects | parts) == []


@pytest.mark.parametrize("said", ["Loud(" + "x" * MOST + ")", "Loud(\n)", "<Loud object at 0x7f>", "()"])
def test_long_lines_are_found(said: str) -> None:
    class Loud:
        def __repr__(self) -> str:
            return said

    assert len(long_lines({"loud": Loud()})) == 1


def test_a_bundle_says_what_it_has(saved: Path) -> None:
    said = repr(load(saved))
    assert "6 sites" in said and "explicit" in said and "not verified" in said and "golden" in said
    assert "Graph(" not in said and "array(" not in said


def test_a_site_says_its_law_beside_its_modules(everything_model: Any) -> None:
    first, *_ = [line.strip() for line in repr(everything_model.op).splitlines()][1:]
    assert first == "mlp, same, nested: Uniform(3)"
