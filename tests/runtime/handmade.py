"""The graph contract written by hand, in ONNX's textual syntax: a small routed model in every interface, and bundles.

Nothing here comes from the exporter or the runtime, so that both can be wrong.

The model has 3 sites. `outer` chooses one of 3 operations; `outer.b.inner`, inside branch 1 of it, adds or multiplies;
`head`, a layer, is skipped or run. `inner` and `head` are steps 0 and 1 of one Markov chain: `head` follows the latent
route of `inner`, whether that is reached or not.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.external_data_helper
import onnx.numpy_helper
import onnx.parser
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

INTERFACES = ("explicit", "host", "standalone", "plain")
BRANCHES = (3, 2, 2)
WEIGHT = np.array([[1, 2, 0, 0], [0, 1, 2, 0], [0, 0, 1, 2], [2, 0, 0, 1]], np.float32)

SITES: list[dict[str, Any]] = [
    {
        "name": "outer",
        "kind": "operation",
        "branches": ["twice", "nested", "less"],
        "calls": [[]],
        "policy": {"type": "categorical", "probabilities": [[0.25, 0.25, 0.5]], "thresholds": [[0.25, 0.5]]},
    },
    {
        "name": "outer.b.inner",
        "kind": "operation",
        "branches": ["add", "multiply"],
        "calls": [[[0, 1]]],
        "policy": {"type": "markov", "probabilities": [[0.5, 0.5]], "thresholds": [[0.5]], "chain": 0, "step": 0},
    },
    {
        "name": "head",
        "kind": "layer",
        "branches": ["skip", "run"],
        "calls": [[]],
        "policy": {
            "type": "markov",
            "probabilities": [[0.75, 0.25], [0.125, 0.875]],
            "thresholds": [[0.75], [0.125]],
            "chain": 0,
            "step": 1,
        },
    },
]

# Two laws over them that are on the menu, and one that is not.
PROFILES: dict[str, dict[str, Any]] = {
    "even": {
        "policies": [
            {"type": "categorical", "probabilities": [[0.5, 0.5, 0.0]], "thresholds": [[0.5, 1.0]]},
            *[{"type": "categorical", "probabilities": [[0.5, 0.5]], "thresholds": [[0.5]]}] * 2,
        ],
        "measured": {"cost": 0.6, "quality": 0.8, "spread": 0.05, "metric": "accuracy"},
    },
    "short": {"path": [0, -1, 0], "measured": {"cost": 0.3, "quality": 0.7, "spread": 0, "metric": "accuracy"}},
    "whole": {"path": [1, 1, 1]},
}


def mix64(z: str, out: str) -> str:
    """Returns nodes that compute `out`, SplitMix64's finaliser of `z`."""
    return f"""
  {z}a = BitShift<direction: string = "RIGHT">({z}, c30)
  {z}b = BitwiseXor({z}, {z}a)
  {z}c = Mul({z}b, m1)
  {z}d = BitShift<direction: string = "RIGHT">({z}c, c27)
  {z}e = BitwiseXor({z}c, {z}d)
  {z}f = Mul({z}e, m2)
  {z}g = BitShift<direction: string = "RIGHT">({z}f, c31)
  {out} = BitwiseXor({z}f, {z}g)
"""


# 24 bits of each of the last three numbers of a random node, shaped like `source`, become the int64 `noise`.
NOISE = """
  uniform = RandomUniformLike<dtype: int = 1>(source)
  last = Slice(uniform, i_minus3, i_end, i_0)
  scaled = Mul(last, two24)
  bits = Cast<to: int = 13>(scaled)
  placed = BitShift<direction: string = "LEFT">(bits, shifts)
  placed_i = Cast<to: int = 7>(placed)
  noise = ReduceSum<keepdims: int = 0>(placed_i)
"""

# From an int64 `number` to `draws`, float32 [3].
DRAWS = f"""
  unsigned = Cast<to: int = 13>(number)
  k = Unsqueeze(unsigned, i_0)
  {mix64("k", "key")}
  counter = Mul(index, gamma)
  z = Add(key, counter)
  {mix64("z", "hashed")}
  top = BitShift<direction: string = "RIGHT">(hashed, c40)
  topf = Cast<to: int = 1>(top)
  draws = Mul(topf, two_24)
"""

EXPLICIT = f"""
  pathf = Cast<to: int = 1>(rr_path)
  source = Concat<axis: int = 0>(pathf, pathf)
  {NOISE}
  unseeded = Less(rr_seed, zero)
  number = Where(unseeded, noise, rr_seed)
  {DRAWS}
  path = Identity(rr_path)
"""

HOST = """
  draws = Identity(rr_draws)
  path = Identity(rr_path)
"""

STANDALONE = f"""
  flat = Reshape(x, i_minus1)
  head = Gather(flat, i_0)
  source = Concat<axis: int = 0>(head, zeros)
  {NOISE}
  number = Identity(noise)
  {DRAWS}
  path = Identity(free)
"""

# From `draws` and `path` (int64 [3], -1: drawn) to the routes `r0`, `r1`, `r2`, int64 [].
ROUTES = """
  d0, d1, d2 = Split<axis: int = 0, num_outputs: int = 3>(draws)
  p0, p1, p2 = Split<axis: int = 0, num_outputs: int = 3>(path)
  ge0 = GreaterOrEqual(d0, t0)
  i0 = Cast<to: int = 7>(ge0)
  s0 = ReduceSum<keepdims: int = 1>(i0, i_0)
  ge1 = GreaterOrEqual(d1, t1)
  s1 = Cast<to: int = 7>(ge1)
  ge2 = GreaterOrEqual(d2, t2)
  table = Cast<to: int = 7>(ge2)
  drawn0 = Less(p0, i_0)
  drawn1 = Less(p1, i_0)
  drawn2 = Less(p2, i_0)
  c0 = Min(p0, i_2)
  c1 = Min(p1, i_1)
  c2 = Min(p2, i_1)
  v0 = Where(drawn0, s0, c0)
  v1 = Where(drawn1, s1, c1)
  forced_table = Where(drawn2, table, c2)
  v2 = Gather(forced_table, v1)
  r0 = Squeeze(v0)
  r1 = Squeeze(v1)
  r2 = Squeeze(v2)
  is0 = Equal(r0, zero)
  is1 = Equal(r0, one)
  mul = Cast<to: int = 9>(r1)
  run = Cast<to: int = 9>(r2)
  in1 = Equal(v0, i_1)
  seen1 = Where(in1, v1, i_minus1)
  rr_path_taken = Concat<axis: int = 0>(v0, seen1, v2)
"""

BODY = """
  h = If(is0) <
    then_branch = twice () => (float[batch, 4] h0) { h0 = Add(x, x) },
    else_branch = rest () => (float[batch, 4] h12) {
      h12 = If(is1) <
        then_branch = nested () => (float[batch, 4] h1) {
          h1 = If(mul) <
            then_branch = multiply () => (float[batch, 4] h1m) { h1m = MatMul(x, weight) },
            else_branch = add () => (float[batch, 4] h1a) { h1a = Add(x, f1) }
          >
        },
        else_branch = less () => (float[batch, 4] h2) { h2 = Sub(x, f3) }
      >
    }
  >
  y = If(run) <
    then_branch = head_run () => (float[batch, 4] y1) { hh = Mul(h, f10)
                                                        y1 = Add(hh, f1) },
    else_branch = head_skip () => (float[batch, 4] y0) { y0 = Identity(h) }
  >
"""

TAIL = """
  large = Greater(y, f3)
  large_i = Cast<to: int = 7>(large)
  many = ReduceSum<keepdims: int = 0>(large_i, i_1)
  count = Add(many, offset)
"""

# "type name = {values}", one per line; a graph gets those that it uses.
CONSTANTS = """
  uint64[1] m1 = {13787848793156543929}
  uint64[1] m2 = {10723151780598845931}
  uint64[1] gamma = {11400714819323198485}
  uint64[1] c27 = {27}
  uint64[1] c30 = {30}
  uint64[1] c31 = {31}
  uint64[1] c40 = {40}
  uint64[3] index = {1, 2, 3}
  uint64[3] shifts = {0, 24, 39}
  float two24 = {16777216.0}
  float two_24 = {5.9604644775390625e-08}
  int64 zero = {0}
  int64 one = {1}
  int64[1] i_0 = {0}
  int64[1] i_1 = {1}
  int64[1] i_2 = {2}
  int64[1] i_minus1 = {-1}
  int64[1] i_minus3 = {-3}
  int64[1] i_end = {1000}
  int64[3] free = {-1, -1, -1}
  float[6] zeros = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0}
  float[2] t0 = {0.25, 0.5}
  float[1] t1 = {0.5}
  float[2] t2 = {0.75, 0.125}
  float f1 = {1.0}
  float f3 = {3.0}
  float f10 = {10.0}
"""

SIGNATURES = {
    "explicit": ", int64 rr_seed, int64[3] rr_path",
    "host": ", float[3] rr_draws, int64[3] rr_path",
    "standalone": "",
    "plain": "",
}
PRELUDES = {"explicit": EXPLICIT, "host": HOST, "standalone": STANDALONE}


def graph_text(interface: str) -> str:
    """Returns the model as text, without its weight."""
    taken = ", int64[3] rr_path_taken" if interface in ("explicit", "host") else ""
    nodes = "y = Add(x, x)" if interface == "plain" else PRELUDES[interface] + ROUTES + BODY
    nodes += TAIL
    used = [line.strip() for line in CONSTANTS.splitlines() if line and re.search(rf"\b{line.split()[1]}\b", nodes)]
    return f"""<ir_version: 9, opset_import: ["" : 20]>
routed (float[batch, 4] x, int64[batch] offset{SIGNATURES[interface]})
    => (float[batch, 4] y, bool[batch, 4] large, int64[batch] count{taken})
<{", ".join(used)}>
{{{nodes}}}"""


def manifest(interface: str = "explicit") -> dict[str, Any]:
    """Returns the manifest that is inside the model: a new dictionary, free to be changed."""
    return {
        "format": "rr.manifest",
        "version": 1,
        "interface": interface,
        "opset": 20,
        "generator": "splitmix64",
        "sites": [] if interface == "plain" else copy.deepcopy(SITES),
        "inputs": [
            {"name": "x", "dtype": "float32", "shape": ["batch", 4]},
            {"name": "offset", "dtype": "int64", "shape": ["batch"]},
        ],
        "outputs": [
            {"name": "y", "dtype": "float32", "shape": ["batch", 4]},
            {"name": "large", "dtype": "bool", "shape": ["batch", 4]},
            {"name": "count", "dtype": "int64", "shape": ["batch"]},
        ],
        "tolerances": {"rtol": 1e-5, "atol": 1e-6},
        "producer": {"hand": "1"},
    }


@functools.cache
def _parsed(interface: str) -> bytes:
    model = onnx.parser.parse_model(graph_text(interface))
    if interface != "plain":
        model.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHT, "weight"))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def model(interface: str = "explicit", *, metadata: Mapping[str, Any] | str | None = None) -> onnx.ModelProto:
    """Returns the model with a manifest inside: its own, the given one (any text), or none where it is ""."""
    made = onnx.load_from_string(_parsed(interface))
    if metadata is None:
        metadata = manifest(interface)
    if metadata != "":
        text = metadata if isinstance(metadata, str) else json.dumps(metadata)
        made.metadata_props.add(key="rr.manifest", value=text)
    return made


def write_file(file: Path, interface: str = "explicit", *, metadata: Mapping[str, Any] | str | None = None) -> Path:
    """The model is at `file`, which is returned."""
    file.write_bytes(model(interface, metadata=metadata).SerializeToString())
    return file


def write_bundle(folder: Path, interface: str = "explicit", *, external: bool = False) -> Path:
    """A bundle is in the new `folder`, which is returned: model, manifest, and golden cases by the numpy reference."""
    folder.mkdir()
    made = model(interface)
    if external:
        onnx.external_data_helper.convert_model_to_external_data(
            made, all_tensors_to_one_file=True, location="model.onnx.data", size_threshold=64
        )
    onnx.save_model(made, folder / "model.onnx")
    cases: list[tuple[int | None, list[int] | None]] = [(7, None), (None, [1, 1, 0]), (8, [-1, -1, 1]), (None, None)]
    if interface in ("standalone", "plain"):
        cases = [] if interface == "standalone" else [(None, None)]
    golden: list[dict[str, Any]] = []
    arrays: dict[str, Any] = {}
    for number, (seed, path) in enumerate(cases):
        taken = [] if interface == "plain" else reported(routes(seed or 0, path))
        golden.append({"seed": seed, "path": path, "taken": taken})
        inputs = example(batch=number + 1)
        arrays |= {f"{number}/input/{name}": array for name, array in inputs.items()}
        outputs = forward(inputs, taken, plain=interface == "plain")
        arrays |= {f"{number}/output/{name}": array for name, array in outputs.items()}
    np.savez(folder / "golden.npz", **arrays)
    write_manifest(folder, {**manifest(interface), "golden": golden})
    return folder


def write_profiles(folder: Path) -> Path:
    """The bundle in the folder, which is returned, has ``PROFILES`` too."""
    content = content_of(folder)
    write_manifest(folder, {**content, "profiles": PROFILES}, files=content["files"])
    return folder


def content_of(folder: Path) -> dict[str, Any]:
    """Returns the content of a folder's manifest.json."""
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


def write_manifest(folder: Path, content: Mapping[str, Any], *, files: Mapping[str, Any] | None = None) -> None:
    """The folder's manifest.json has the content, and records every other file in the folder, or the given ones."""
    names = sorted(file.name for file in folder.iterdir() if file.name != "manifest.json")
    recorded = {name: record(folder / name) for name in names}
    text = json.dumps({**content, "files": recorded if files is None else files})
    (folder / "manifest.json").write_text(text)


def record(file: Path) -> dict[str, Any]:
    """Returns what a manifest records of a file."""
    data = file.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def example(batch: int = 2) -> Arrays:
    """Returns inputs on which every path gives another `y`."""
    x = np.arange(1, 4 * batch + 1, dtype=np.float32).reshape(batch, 4) / 8
    return {"x": x, "offset": np.arange(batch, dtype=np.int64) * 100}


def draws(seed: int, sites: int) -> list[float]:
    """Returns the draws of a seed, in Python's integers."""

    def mix(z: int) -> int:
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    key = mix(seed)
    return [(mix((key + (i + 1) * 0x9E3779B97F4A7C15) % 2**64) >> 40) / 2**24 for i in range(sites)]


def routes(seed: int, path: Sequence[int] | None = None) -> list[int]:
    """Returns the latent routes of the three sites."""
    drawn = draws(seed, 3)
    asked = [-1, -1, -1] if path is None else path
    outer = asked[0] if asked[0] >= 0 else sum(t <= drawn[0] for t in (0.25, 0.5))
    inner = asked[1] if asked[1] >= 0 else int(drawn[1] >= 0.5)
    head = asked[2] if asked[2] >= 0 else int(drawn[2] >= (0.75, 0.125)[inner])
    return [outer, inner, head]


def reported(latent: Sequence[int]) -> list[int]:
    """Returns the path of latent routes: -1 where not reached."""
    return [latent[0], latent[1] if latent[0] == 1 else -1, latent[2]]


def forward(inputs: Arrays, path: Sequence[int], *, plain: bool = False) -> Arrays:
    """Returns the model's outputs when it takes a path."""
    x = inputs["x"]
    if plain:
        y = x + x
    else:
        h = [x + x, x @ WEIGHT if path[1] else x + 1, x - 3][path[0]]
        y = h * 10 + 1 if path[2] else h
    large = y > 3
    return {"y": y.astype(np.float32), "large": large, "count": large.sum(1) + inputs["offset"]}


def paths() -> list[list[int]]:
    """Returns the 8 paths that can be reported."""
    return sorted({tuple(reported(p)): reported(p) for p in itertools.product(*map(range, BRANCHES))}.values())


def path_of(y: NDArray[np.float32], inputs: Arrays) -> list[int]:
    """Returns the path that gives the output `y`."""
    found = [p for p in paths() if np.allclose(y, forward(inputs, p)["y"], rtol=1e-5, atol=1e-6)]
    assert len(found) == 1, f"expected one path, got {found}"
    return found[0]


ROUTED = ("explicit", "host")
UNROUTED = ("standalone", "plain")


def assert_outputs(outputs: Arrays, expected: Arrays) -> None:
    """Names, order, dtypes, shapes and values are the expected ones."""
    assert list(outputs) == list(expected)
    for name, array in expected.items():
        assert outputs[name].dtype == array.dtype
        assert outputs[name].shape == array.shape
        np.testing.assert_allclose(outputs[name], array, rtol=1e-5, atol=1e-6)
