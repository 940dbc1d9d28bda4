"""Files that rr.export made, and that were changed afterwards."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import rr_export as rr
from rr_runtime import Session
from tests import nets
from tests.lint.specimen import Gallery, feeds, is_constant, open_session

SABOTAGED = Gallery()


def steps(keep: float = 0.8) -> nn.Module:
    """Three layers that may be skipped; the i-th adds 2^i."""
    model = nn.Sequential(*(nn.Linear(nets.WIDTH, nets.WIDTH) for _ in range(3))).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for i, layer in enumerate(model):
            layer.weight.copy_(torch.eye(nets.WIDTH) + 1e-6 * torch.rand(nets.WIDTH, nets.WIDTH, generator=generator))
            layer.bias.fill_(2.0**i)
    return nn.Sequential(*(rr.LayerChoice(layer, keep) for layer in model)).eval()


def nested() -> nn.Module:
    torch.manual_seed(0)
    inner = nn.Sequential(rr.LayerChoice(nn.Linear(nets.WIDTH, nets.WIDTH), 0.5), nn.ReLU())
    return nets.pair(nn.Identity(), nets.Mlp(), inner)


def chained() -> nn.Module:
    torch.manual_seed(0)
    chain = rr.Markov([0.3, 0.7], [[0.1, 0.9], [0.8, 0.2]])
    return nn.Sequential(
        *(rr.LayerChoice(nn.Linear(nets.WIDTH, nets.WIDTH), policy=chain.step(t)) for t in range(3))
    ).eval()


def activated() -> nn.Module:
    """A site behind an activation."""
    torch.manual_seed(0)
    site = rr.OperationChoice([nn.Linear(nets.WIDTH, nets.WIDTH), nn.Identity()], rr.Uniform(2))
    return nn.Sequential(nn.Linear(nets.WIDTH, nets.WIDTH), nn.ReLU(), site, nn.Linear(nets.WIDTH, 2)).eval()


MODELS: dict[str, Callable[[], nn.Module]] = {
    "steps": steps,
    "nested": nested,
    "chained": chained,
    "operations": lambda: nets.pair(nn.Identity(), nets.Mlp(), nets.Mlp(2.0), nn.Sequential(nn.ReLU())),
    "everything": nets.everything,
    "activated": activated,
}


@functools.cache
def _exported(name: str, interface: str) -> bytes:
    bundle = rr.export(MODELS[name](), (nets.example(),), interface=interface)
    with tempfile.TemporaryDirectory() as folder:
        return bundle.save(Path(folder) / "model.onnx").read_bytes()


def bundle_file(interface: str, folder: Path, *, name: str = "steps") -> Path:
    """Writes what rr.export makes of one of the models."""
    file = folder / "original.onnx"
    file.write_bytes(_exported(name, interface))
    return file


def loaded(interface: str, *, name: str = "steps") -> onnx.ModelProto:
    return onnx.load_from_string(_exported(name, interface))


def save(model: onnx.ModelProto, folder: Path) -> Path:
    file = folder / "model.onnx"
    onnx.save(model, file)
    return file


def node(graph: onnx.GraphProto, name: str) -> onnx.NodeProto:
    """Returns the node of this name, in the branches too."""
    found = [n for n in _nodes(graph) if n.name == name]
    assert len(found) == 1, name
    return found[0]


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for candidate in graph.node:
        yield candidate
        for attribute in candidate.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def constant(graph: onnx.GraphProto, name: str) -> onnx.TensorProto:
    (found,) = (i for i in graph.initializer if i.name == name)
    return found


def set_constant(graph: onnx.GraphProto, name: str, value: np.ndarray) -> None:
    constant(graph, name).CopyFrom(numpy_helper.from_array(value, name))


def add_constant(graph: onnx.GraphProto, name: str, value: object) -> None:
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def change_manifest(model: onnx.ModelProto, change: Callable[[dict[str, Any]], None]) -> None:
    (row,) = (m for m in model.metadata_props if m.key == "rr.manifest")
    manifest = json.loads(row.value)
    change(manifest)
    row.value = json.dumps(manifest)


def seeded(file: Path, *, seeds: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Returns which layers of "steps" ran, and which the file says, for each seed: int [seeds, 3] both."""
    session = open_session(file)
    ran, said = [], []
    for seed in range(seeds):
        fed = feeds(session)
        fed |= {"rr_seed": np.array(seed, np.int64), "rr_path": np.full(3, -1, np.int64)}
        total, path = session.run(["output", "rr_path_taken"], fed)
        ran.append([round(float(total.flat[0])) >> i & 1 for i in range(3)])
        said.append(path.tolist())
    return np.asarray(ran), np.asarray(said)


# A site that no longer decides


def _second_layer_always_runs(file: Path) -> None:
    ran, said = seeded(file)
    assert ran[:, 1].all() and not said[:, 1].all()


@SABOTAGED(
    "RR201 RR301",
    made_by="the condition of site '1' becomes a constant",
    where={"RR301": ("^1$", "main graph")},
    shows=_second_layer_always_runs,
)
def frozen_site(folder: Path) -> Path:
    model = loaded("explicit")
    add_constant(model.graph, "always", True)
    node(model.graph, "1").input[0] = "always"
    return save(model, folder)


@SABOTAGED(
    "RR301",
    made_by="the If of site '1' is replaced by the branch that runs",
    where={"RR301": ("^1$", "main graph")},
    shows=_second_layer_always_runs,
)
def inlined_site(folder: Path) -> Path:
    model = loaded("explicit")
    choice = node(model.graph, "1")
    index = list(model.graph.node).index(choice)
    (body,) = (a.g for a in choice.attribute if a.name == "then_branch")
    inlined = list(body.node)
    inlined[-1].output[0] = choice.output[0]
    del model.graph.node[index]
    for made in reversed(inlined):
        model.graph.node.insert(index, made)
    return save(model, folder)


@SABOTAGED(
    "RR201 RR301",
    made_by="the condition of the inner site becomes a constant",
    where={"RR301": (r"site\.branches\.2\.0", "then_branch of If 'site' > then_branch of If 'site[1:3]'")},
)
def frozen_inner_site(folder: Path) -> Path:
    model = loaded("explicit", name="nested")
    add_constant(model.graph, "always", True)
    node(model.graph, "site.branches.2.0").input[0] = "always"
    return save(model, folder)


@SABOTAGED("RR201 RR303", made_by="the random node of a standalone file is replaced by zeros", shows=is_constant)
def frozen_draws(folder: Path) -> Path:
    model = loaded("standalone")
    (random,) = (n for n in model.graph.node if n.op_type == "RandomUniformLike")
    add_constant(model.graph, random.output[0], np.full(7, 0.25, np.float32))
    model.graph.node.remove(random)
    return save(model, folder)


# Sites that share a decision


def _first_and_third_agree(file: Path) -> None:
    ran, said = seeded(file)
    assert (ran[:, 0] == ran[:, 2]).all() and not (said[:, 0] == said[:, 2]).all()


@SABOTAGED(
    "RR302",
    made_by="site '2' gets the condition of site '0'",
    where={"RR302": ("^[02]$", "main graph")},
    shows=_first_and_third_agree,
)
def merged_sites(folder: Path) -> Path:
    model = loaded("explicit")
    node(model.graph, "2").input[0] = node(model.graph, "0").input[0]
    return save(model, folder)


@SABOTAGED("RR302", made_by="site '2' gets the condition of site '0'", where={"RR302": ("^[02]$", "main graph")})
def merged_sites_of_host(folder: Path) -> Path:
    model = loaded("host")
    node(model.graph, "2").input[0] = node(model.graph, "0").input[0]
    return save(model, folder)


# Another law


def _runs_too_seldom(file: Path) -> None:
    ran, _ = seeded(file, seeds=300)
    assert ran.mean() < 0.6  # .8 in the manifest


@SABOTAGED(
    "RR304", made_by="other thresholds", where={"RR304": ("rr_path_taken", "main graph")}, shows=_runs_too_seldom
)
def changed_thresholds(folder: Path) -> Path:
    model = loaded("explicit")
    set_constant(model.graph, "rr/thresholds", np.full(3, 2**23))
    return save(model, folder)


@SABOTAGED("RR304", made_by="other thresholds", where={"RR304": ("rr_path_taken", "main graph")})
def changed_thresholds_of_host(folder: Path) -> Path:
    model = loaded("host")
    set_constant(model.graph, "rr/thresholds", np.full(3, 0.5, np.float32))
    return save(model, folder)


@SABOTAGED("RR304", made_by="other thresholds in the manifest")
def changed_thresholds_in_manifest(folder: Path) -> Path:
    model = loaded("standalone")

    def change(manifest: dict[str, Any]) -> None:
        manifest["sites"][1]["policy"] |= {"probabilities": [[0.5, 0.5]], "thresholds": [[0.5]]}

    change_manifest(model, change)
    return save(model, folder)


@SABOTAGED("RR304", made_by="another table of a Markov chain")
def changed_transitions(folder: Path) -> Path:
    model = loaded("explicit", name="chained")
    (table,) = (i for i in model.graph.initializer if i.name.startswith("rr/thresholds"))
    value = numpy_helper.to_array(table).copy()
    value[value < 2**24] //= 2
    set_constant(model.graph, table.name, value)
    return save(model, folder)


def _ignores_the_manifest_s_generator(file: Path) -> None:
    _, said = seeded(file)
    original = bundle_file("explicit", file.parent)
    assert not np.array_equal(said, seeded(original)[1])


@SABOTAGED("RR304", made_by="another constant in the generator", shows=_ignores_the_manifest_s_generator)
def changed_generator(folder: Path) -> Path:
    model = loaded("explicit")
    set_constant(model.graph, "rr/mix", numpy_helper.to_array(constant(model.graph, "rr/mix")) + np.uint64(2))
    return save(model, folder)


# A broken signature


def _is_refused_by_rr_runtime(file: Path) -> None:
    with pytest.raises(Exception, match=r"rr_|input|output|manifest|sites"):
        Session(file).run({"input": np.zeros((3, nets.WIDTH), np.float32)}, seed=0)


@SABOTAGED(
    "RR303",
    made_by="rr_seed gets another name",
    where={"RR303": ("rr_seed", "main graph")},
    shows=_is_refused_by_rr_runtime,
)
def renamed_seed(folder: Path) -> Path:
    model = loaded("explicit")
    (seed,) = (i for i in model.graph.input if i.name == "rr_seed")
    seed.name = "random_seed"
    for made in model.graph.node:
        made.input[:] = ["random_seed" if name == "rr_seed" else name for name in made.input]
    return save(model, folder)


@SABOTAGED(
    "RR303",
    made_by="rr_path_taken is dropped",
    where={"RR303": ("rr_path_taken", "main graph")},
    shows=_is_refused_by_rr_runtime,
)
def dropped_path(folder: Path) -> Path:
    model = loaded("explicit")
    (path,) = (o for o in model.graph.output if o.name == "rr_path_taken")
    model.graph.output.remove(path)
    return save(model, folder)


@SABOTAGED(
    "RR303",
    made_by="rr_path becomes int32",
    where={"RR303": ("rr_path", "main graph")},
    shows=_is_refused_by_rr_runtime,
)
def narrow_path(folder: Path) -> Path:
    model = loaded("explicit")
    (path,) = (i for i in model.graph.input if i.name == "rr_path")
    path.type.tensor_type.elem_type = TensorProto.INT32
    for made in model.graph.node:
        made.input[:] = ["rr_path_64" if name == "rr_path" else name for name in made.input]
    model.graph.node.insert(0, helper.make_node("Cast", ["rr_path"], ["rr_path_64"], to=TensorProto.INT64))
    return save(model, folder)


@SABOTAGED("RR303", made_by="the manifest has one site more than the graph")
def another_site_in_manifest(folder: Path) -> Path:
    model = loaded("host")
    change_manifest(model, lambda m: m["sites"].append({**m["sites"][0], "name": "3"}))
    return save(model, folder)


@SABOTAGED("RR303", made_by="the manifest is cut off")
def cut_manifest(folder: Path) -> Path:
    model = loaded("explicit")
    (row,) = (m for m in model.metadata_props if m.key == "rr.manifest")
    row.value = row.value[: len(row.value) // 2]
    return save(model, folder)


@SABOTAGED("RR103", made_by="a second random node", where={"RR103": ("Random|rr/|noise", "main graph")})
def second_random_node(folder: Path) -> Path:
    model = loaded("explicit")
    last = model.graph.node[-1]
    name, last.output[0] = last.output[0], "quiet"
    model.graph.node.extend(
        [
            helper.make_node("RandomNormalLike", ["input"], ["noise"], name="noise"),
            helper.make_node("Add", ["quiet", "noise"], [name]),
        ]
    )
    return save(model, folder)


@SABOTAGED("RR107", made_by="a seed attribute on the random node", where={"RR107": ("Random", "main graph")})
def seeded_random_node(folder: Path) -> Path:
    model = loaded("standalone")
    (random,) = (n for n in model.graph.node if n.op_type == "RandomUniformLike")
    random.attribute.append(helper.make_attribute("seed", 3.0))
    return save(model, folder)


# Another engine


@SABOTAGED("RR501 RR502", made_by="rr.export, for OpenVINO's own reader", engine="openvino")
def explicit_for_openvino(folder: Path) -> Path:
    return bundle_file("explicit", folder)


@SABOTAGED("RR501 RR502", made_by="rr.export, for OpenVINO's own reader", engine="openvino")
def standalone_for_openvino(folder: Path) -> Path:
    return bundle_file("standalone", folder)
