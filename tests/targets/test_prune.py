"""Pruned files against the files that they were made from: by onnxruntime alone, and the names of branches."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.bundle.manifest import write_profile
from rr_export.bundle.weights import initializers
from rr_export.errors import BundleError
from rr_export.laws.kept_branches import Kept
from rr_export.laws.plan import Plan
from rr_export.laws.profile import Profile
from rr_export.parity.pruned_check import check_pruned, laws_apart
from rr_export.parity.terms import Terms
from rr_export.report.report import Check
from rr_export.targets import prune
from rr_runtime import Session
from rr_runtime.manifest import Manifest
from tests import nets

X = nets.example().numpy()


def chained() -> rr.Markov:
    """Begins with the second branch, which is followed by itself; then the last step draws either."""
    return rr.Markov([0, 1], [[[0, 1], [0, 1]], [[0.5, 0.5], [0.3, 0.7]]])


def with_laws(bundle: rr.Bundle) -> rr.Bundle:
    """The bundle of ``Everything`` with laws that leave something out, and a path."""
    some = {"op": rr.Categorical([0.5, 0.5, 0]), "sets": rr.Categorical([0, 0.5, 0, 0.5])}
    chain = dict(zip(("first", "second", "shared"), map(chained().step, range(3)), strict=True))
    found = bundle.with_profile("some", bundle.plan.with_policies(some))
    found = found.with_profile("chain", bundle.plan.with_policies({**some, **chain}))
    measured = rr.Measured(0.5, 0.8, 0.0, "accuracy")
    return found.with_profile("path", [2, 1, 1, 1, 0, 3], measured=measured)


@pytest.fixture(scope="module")
def source(everything_bundle: rr.Bundle, tmp_path_factory: pytest.TempPathFactory) -> rr.Bundle:
    bundle = with_laws(everything_bundle)
    bundle.save(tmp_path_factory.mktemp("prune") / "source")
    return bundle


class Raw:
    """A file under onnxruntime without its optimisations, and what its manifest says, read as JSON."""

    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        self.sites = json.loads((folder / "manifest.json").read_text())["sites"]
        self.data = self.session.get_inputs()[0].name

    def paths(self) -> Iterator[tuple[int, ...]]:
        """Every combination of routes, reached or not."""
        return itertools.product(*(range(len(site["branches"])) for site in self.sites))

    def named(self, path: Sequence[int]) -> list[str]:
        return [site["branches"][r] if r >= 0 else "" for site, r in zip(self.sites, path, strict=True)]

    def routes(self, names: Sequence[str]) -> list[int]:
        return [site["branches"].index(name) if name else -1 for site, name in zip(self.sites, names, strict=True)]

    def run(self, x: Any, path: Sequence[int], seed: int = 3) -> tuple[list[Any], list[str]]:
        """The outputs, and the names of the branches that were taken."""
        fed = {self.data: x, "rr_path": np.array(path), "rr_seed": np.array(seed)}
        *outputs, taken = self.session.run(None, fed)
        return outputs, self.named(taken.tolist())


def differences(pruned: Path, source: Path, x: Any = X) -> list[str]:
    """One sentence for each combination of routes that is left whose outputs are others, bit for bit."""
    new, old = Raw(pruned), Raw(source)
    failures = []
    for path in new.paths():
        (got, took), (expected, wanted) = new.run(x, path), old.run(x, old.routes(new.named(path)))
        if took != wanted or not all(map(np.array_equal, expected, got)):
            failures.append(f"{new.named(path)}: expected {wanted}, got {took}, or other outputs")
    return failures


@pytest.mark.parametrize(
    ("names", "kept", "law"),
    [
        (["some"], [[0, 1], [0], [0, 1], [0, 1], [0, 1], [1, 3]], "some"),
        (["chain"], [[0, 1], [0], [1], [1], [0, 1], [1, 3]], "chain"),
        (["path"], [[2], [1], [1], [1], [0], [3]], "path"),
        (["chain", "path"], [[0, 1, 2], [1], [1], [1], [0, 1], [1, 3]], "chain"),
    ],
)
def test_on_every_path_that_is_left_the_file_computes_what_it_did(
    names: list[str], kept: list[list[int]], law: str, source: rr.Bundle, tmp_path: Path
) -> None:
    made = rr.prune(source, names)
    assert [row["kept"] for row in made.manifest["pruned"]["sites"]] == kept
    assert made.manifest["pruned"]["law"] == law and list(made.profiles) == names
    folder = made.save(tmp_path / "pruned")
    assert source.path is not None
    assert differences(folder, source.path) == []
    assert (folder / "model.onnx").stat().st_size < (source.path / "model.onnx").stat().st_size
    assert rr.lint(folder) == []
    whole, session = Session(source.path), Session(folder)
    session.check()  # its golden cases
    told = session.manifest.pruned
    assert told is not None
    for name, seed in itertools.product(names, range(50)):
        path = whole.run({"x": X}, seed=seed, profile=name).path
        assert path is not None
        assert told.path(path.tolist()) == tuple(session.run({"x": X}, seed=seed, profile=name).path)
    for seed in range(20):  # the law that is now its own
        path = whole.run({"x": X}, seed=seed, profile=law).path
        assert path is not None
        assert [
            name
            for name, r in zip(Raw(folder).named(session.run({"x": X}, seed=seed).path), path, strict=True)
            if r >= 0
        ] == [name for name in Raw(source.path).named(path) if name]


def test_what_is_gone_is_in_no_file(source: rr.Bundle, tmp_path: Path) -> None:
    made = rr.prune(source, ["path"])
    gone = {str(v.name): v.const_value.tobytes() for v in initializers(source.model) if v.const_value is not None}
    inline, beside = made.save(tmp_path / "inline"), made.save(tmp_path / "beside", external_data=True)
    held = [onnx.load(folder / "model.onnx") for folder in (inline, beside)]
    names = {tensor.name for tensor in held[0].graph.initializer}
    lost = [name for name, content in gone.items() if name.startswith("op.branches.0") and len(content) > 100]
    assert lost and not names & set(lost)
    for folder in (inline, beside):
        content = b"".join(file.read_bytes() for file in folder.glob("model.onnx*"))
        assert not [name for name in lost if gone[name] in content]
    assert [n.op_type for model in held for n in model.graph.node if n.op_type == "If"] == []


def test_a_named_law_and_the_own_law(source: rr.Bundle) -> None:
    assert rr.prune(source, ["some", "chain"], law="chain").manifest["pruned"]["law"] == "chain"
    never = source.plan.with_policies({"op": rr.Categorical([0.5, 0.5, 0])})
    fitting = rr.Bundle(source.model, source.manifest, source.golden).with_profile("low", never)
    other = rr.export(
        nets.pair(nn.Identity(), nn.Tanh(), nn.ReLU(), policy=rr.Categorical([0.2, 0, 0.8])), (nets.example(),)
    )
    made = rr.prune(other.with_profile("same", other.plan))
    assert made.manifest["pruned"]["law"] is None  # its own law never took the second branch
    assert made.plan.sites[0].branches == ("0", "2") and made.plan.sites[0].policy == rr.Categorical([0.2, 0.8])
    assert [case.seed for case in made.golden] == [case.seed for case in other.golden if case.taken != (1,)]
    with pytest.raises(
        ValueError, match=r"law: expected one of the profiles that are kept \(low\), got 'chain'; name one"
    ):
        rr.prune(fitting, ["low"], law="chain")


def test_what_cannot_be_pruned_is_refused(source: rr.Bundle, everything_bundle: rr.Bundle) -> None:
    with pytest.raises(BundleError, match="prune: expected a bundle with profiles, which say what is kept"):
        rr.prune(everything_bundle)
    with pytest.raises(ValueError, match=r"profiles: expected names of some, chain, path, got 'slow'"):
        rr.prune(source, ["some", "slow"])
    with pytest.raises(ValueError, match="profiles: expected a list of names, got the text 'some'"):
        rr.prune(source, "some")
    with pytest.raises(ValueError, match="profiles: expected at least one name, got none"):
        rr.prune(source, [])
    whole = everything_bundle.with_profile("all", everything_bundle.plan)
    with pytest.raises(ValueError, match="prune: expected profiles that leave a branch out, got all, which together"):
        rr.prune(whole)
    made = rr.prune(source, ["path"])
    with pytest.raises(ValueError, match="verify: expected a bundle with all branches of the model, got a pruned one"):
        rr.verify(made, nets.everything(), (nets.example(),))


def gated_source(folder: Path) -> rr.Bundle:
    bundle = rr.export(nets.gated(report=True), (nets.example(),), dynamic_shapes={"input": {0: "batch"}})
    plan, names = bundle.plan, [site.name for site in bundle.plan.sites]
    chain = rr.Markov([0, 1], [[[0.5, 0.5], [0, 1]]])
    steps = {names[1]: chain.step(0), names[5]: chain.step(1)}
    first, last = rr.Categorical([0, 1]), rr.Categorical([1, 0])
    found = bundle.with_profile("inner", plan.with_policies({names[0]: first, names[2]: first, **steps}))
    found = found.with_profile("outer", plan.with_policies({names[2]: last, **steps}))
    fixed = {names[0]: rr.Categorical([0.2, 0.8]), names[2]: first, names[3]: rr.Categorical([0.5, 0, 0.5])}
    found = found.with_profile("fixed", plan.with_policies(fixed))
    found.save(folder / "source")
    return found


def test_gates_stay_where_a_profile_asks_them(tmp_path: Path) -> None:
    source = gated_source(tmp_path)
    for names, gates in ((["inner"], (3,)), (["outer"], (0,)), (["fixed"], ()), (["inner", "fixed"], (3,))):
        made = rr.prune(source, names)
        assert made.plan.gates == gates
        folder = made.save(tmp_path / "-".join(names))
        assert differences(folder, tmp_path / "source") == []
        whole, session = Session(tmp_path / "source"), Session(folder)
        for name, seed, scale in itertools.product(names, range(6), (1, -3)):
            inputs = {"input": (scale * X).astype(np.float32)}
            wanted, got = (s.run(inputs, seed=seed, profile=name) for s in (whole, session))
            assert wanted.path is not None and session.manifest.pruned is not None
            assert session.manifest.pruned.path(wanted.path.tolist()) == tuple(got.path)
    with pytest.raises(
        ValueError, match=r"law: expected one that leaves site '2.branches.1.1' to the input, as profile 'inner'"
    ):
        rr.prune(source, ["fixed", "inner"])


class Coded(nn.Module):
    """Decides in ordinary Python: one draw of three ways, and another one behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(nets.WIDTH, nets.WIDTH) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        first, second = torch.rand(()), torch.rand(())
        if first < 0.3:
            x = self.layers[0](x)
        elif first < 0.6:
            x = self.layers[1](x)
        return self.layers[2](x) if second < 0.5 and first < 0.6 else self.layers[3](x)


def test_decisions_in_python_are_pruned_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    bundle = rr.export(Coded().eval(), (nets.example(),))
    first = bundle.plan.sites[0]
    law = {
        first.name: rr.Categorical(
            [float(k != len(first.branches) - 1) / (len(first.branches) - 1) for k in range(len(first.branches))]
        )
    }
    source = bundle.with_profile("some", bundle.plan.with_policies(law))
    source = source.with_profile("one", next(iter(bundle.plan.paths())))
    source.save(tmp_path / "source")
    for name in ("some", "one"):
        folder = rr.prune(source, [name]).save(tmp_path / name)
        assert differences(folder, tmp_path / "source") == []
        assert rr.lint(folder) == []


# --- sabotaged twins: what check_pruned, and the comparison above, must reject


def checks(pruned: rr.Bundle, folder: Path, source: rr.Bundle, points: Sequence[str]) -> dict[str, Check]:
    assert source.path is not None
    found = check_pruned(pruned, folder, source, source.path, {"x": X}, Terms(), points=points)
    return {check.name: check for check in found}


def test_the_check_holds_and_every_sabotage_fails(
    source: rr.Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rr.prune(source, ["some"])
    folder = made.save(tmp_path / "made")
    found = checks(made, folder, source, ("source", "weights", "paths", "nearest", "profiles"))
    assert list(found) == ["source", "weights", "paths", "nearest", "profile some"]
    assert all(check.passed for check in found.values()), found

    # wrong branches are kept
    right = prune.prune_model

    def pruned_wrongly(model: ir.Model, plan: Plan, left: Plan, kept: Kept, *, interface: str) -> ir.Model:
        return right(model, plan, left, (*kept[:5], (0, 2)), interface=interface)

    monkeypatch.setattr(prune, "prune_model", pruned_wrongly)
    wrong = prune.prune(source, ["some"]).save(tmp_path / "wrong")
    found = checks(rr.load(wrong), wrong, source, ("weights", "paths", "nearest"))
    assert found["weights"].passed and not found["paths"].passed and not found["nearest"].passed
    assert source.path is not None and len(differences(wrong, source.path)) == 32

    # the wrong law, of a profile and of runs without one
    law = made.plan.with_policies({"op": rr.Categorical([0.25, 0.75])})
    bent = rr.Bundle(made.model, made.manifest, made.golden).with_profile("some", law)
    place = bent.save(tmp_path / "bent")
    failed = checks(rr.load(place), place, source, ("profiles",))["profile some"]
    assert not failed.passed and "site 'op': expected thresholds [0.5], got [0.25]" in failed.failures

    # more than there was: weights that nothing reads
    fat = rr.load(folder)
    extra = next(v for v in initializers(source.model) if v.const_value is not None and v.const_value.nbytes > 400)
    for number in range(40):
        value = ir.Value(name=f"dead.{number}", const_value=extra.const_value, type=extra.type, shape=extra.shape)
        fat.model.graph.register_initializer(value)
    large = fat.save(tmp_path / "fat")
    assert not checks(rr.load(large), large, source, ("weights",))["weights"].passed

    # another source, and another account of what stays
    stranger = rr.load(folder)
    stranger.manifest["pruned"]["source"]["sha256"] = "0" * 64
    strange = stranger.save(tmp_path / "stranger")
    [failed] = checks(rr.load(strange), strange, source, ("source", "paths")).values()
    assert failed.name == "source" and "expected a bundle that was made from the model file" in failed.failures[0]
    renamed = rr.load(folder)
    renamed.manifest["pruned"]["sites"][5]["kept"] = [0, 3]
    renamed.manifest["pruned"]["sites"][5]["branches"] = ["1", "0", "2", "3"]
    place = renamed.save(tmp_path / "renamed")
    [failed] = checks(rr.load(place), place, source, ("source", "paths")).values()
    assert any("with their branches, got others" in text for text in failed.failures)


def test_a_wrong_law_of_the_file_is_found_exactly(source: rr.Bundle) -> None:
    made = rr.prune(source, ["chain"])
    told = Manifest.parse(made.manifest).pruned
    assert told is not None
    right = source.profiles["chain"].law
    assert right is not None
    assert laws_apart(right, made.plan, told) == []
    for changed in (
        {"op": rr.Categorical([0.5 + 2**-20, 0.5 - 2**-20])},
        {"sets": rr.Categorical([0.25, 0.75])},
        dict(
            zip(("first", "second", "shared"), map(rr.Markov([1], [[[1]], [[0.4, 0.6]]]).step, range(3)), strict=True)
        ),
        {name: rr.Categorical(row) for name, row in (("first", [1]), ("second", [1]), ("shared", [0.3, 0.7]))},
    ):
        assert laws_apart(right, made.plan.with_policies(changed), told)
    assert any("to be drawn" in text for text in laws_apart(source.plan, made.plan, told))


@pytest.mark.slow
def test_the_whole_proof_of_a_pruned_bundle(source: rr.Bundle, tmp_path: Path) -> None:
    folder = rr.prune(source, ["chain", "path"]).save(tmp_path / "pruned")
    assert source.path is not None
    report = rr.verify_against(folder, source.path)
    assert report.passed
    assert [c.name for c in report.checks] == [
        "source", "weights", "paths", "nearest", "streams", "law", "laziness", "profile chain", "profile path",
    ]  # fmt: skip
    bare = rr.load(folder)  # whose manifest has another law than its graph and the source
    even = bare.plan.with_policies({"op": rr.Categorical([0.25, 0.75, 0])})
    bare.manifest["sites"][0]["policy"] = write_profile(Profile(law=even))["policies"][0]
    wrong = bare.save(tmp_path / "wrong")
    with pytest.raises(rr.ParityError, match="law"):
        rr.verify_against(wrong, source.path)
    with pytest.raises(ValueError, match="data: expected none for a pruned bundle, got some"):
        rr.verify_against(folder, source.path, data=[{"x": X}])
