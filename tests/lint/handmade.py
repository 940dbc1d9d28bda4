"""Small graphs written by hand, each with one thing wrong that exporters and tools seldom show alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, external_data_helper, helper, numpy_helper, parser

from tests.lint.specimen import (
    Gallery,
    draw,
    is_constant,
    is_frozen,
    is_random,
    is_refused,
    open_session,
    repeats,
)

HANDMADE = Gallery()
HEADER = '<ir_version: 10, opset_import: ["" : 20]>'
GENERATOR = np.random.default_rng(0)


def text(body: str, folder: Path, *, header: str = HEADER, weights: dict[str, np.ndarray] | None = None) -> Path:
    """Writes the model in onnx's text format, with these initializers besides."""
    model = parser.parse_model(f"{header} {body}")
    for name, value in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    file = folder / "model.onnx"
    onnx.save(model, file)
    return file


# Random nodes


def _branches_draw_alike(file: Path) -> None:
    """Two draws in sibling branches are the same number, in every session."""
    session = open_session(file)
    first, second = session.run(None, {"x": np.zeros(4, np.float32), "c": np.array(True)})
    np.testing.assert_array_equal(first, second)


@HANDMADE(
    "RR103 RR104",
    made_by="hand: random nodes at the same position of two If bodies",
    where={"RR104": ("^drawn_[ab]$", "then_branch of If 'site_a'")},
    shows=_branches_draw_alike,
)
def random_in_branches(folder: Path) -> Path:
    branches = """y{0} = If (c) <
        then_branch = then{0} () => (float[4] a{0}) {{ [drawn_{0}] a{0} = RandomUniformLike (x) }},
        else_branch = else{0} () => (float[4] b{0}) {{ b{0} = Identity (x) }}
    >"""
    bodies = "".join(f"[site_{name}] {branches.format(name)}" for name in "ab")
    return text(f"g (float[4] x, bool c) => (float[4] ya, float[4] yb) {{ {bodies} }}", folder)


@HANDMADE(
    "RR104",
    made_by="hand: a random node in a branch of a branch",
    where={"RR104": ("^drawn$", "then_branch of If 'outer' > else_branch of If 'inner'")},
)
def random_in_nested_branch(folder: Path) -> Path:
    return text(
        """g (float[4] x, bool c) => (float[4] y) {
            [outer] y = If (c) <
                then_branch = t () => (float[4] a) {
                    [inner] a = If (c) <
                        then_branch = tt () => (float[4] aa) { aa = Neg (x) },
                        else_branch = te () => (float[4] ab) { [drawn] ab = RandomNormalLike (x) }
                    >
                },
                else_branch = e () => (float[4] b) { b = Identity (x) }
            >
        }""",
        folder,
    )


@HANDMADE(
    "RR103 RR107",
    made_by="hand: two random nodes with equal seeds",
    where={"RR107": ("^[ab]$", "main graph")},
    shows=lambda file: np.testing.assert_array_equal(*np.split(draw(file, sessions=2), 2, axis=-1)),
)
def equal_seeds(folder: Path) -> Path:
    return text(
        """g (float[4] x) => (float[8] y) {
            [a] a = RandomUniformLike <seed = 5.0> (x)
            [b] b = RandomUniformLike <seed = 5.4> (x)
            y = Concat <axis = 0> (a, b)
        }""",
        folder,
    )


def _starts_alike(file: Path) -> None:
    first = draw(file, sessions=1)[0, 0]
    assert 0 < abs(first[0] - first[4]) < 1e-4


@HANDMADE("RR103 RR107", made_by="hand: two random nodes with adjacent seeds", shows=_starts_alike)
def adjacent_seeds(folder: Path) -> Path:
    return text(
        """g (float[4] x) => (float[8] y) {
            a = RandomUniformLike <seed = 5.0> (x)
            b = RandomUniformLike <seed = 6.0> (x)
            y = Concat <axis = 0> (a, b)
        }""",
        folder,
    )


@HANDMADE("RR107", made_by="hand: a seed attribute", where={"RR107": ("^drawn$", "main graph")}, shows=repeats)
def seed_attribute(folder: Path) -> Path:
    return text("g (float[4] x) => (float[4] y) { [drawn] y = RandomNormalLike <seed = 5.0> (x) }", folder)


@HANDMADE(
    "RR106",
    made_by="hand: a random node at opset 22",
    where={"RR106": ("^drawn$", "main graph")},
    shows=is_refused("NOT_IMPLEMENTED.*RandomUniformLike"),
)
def opset_22(folder: Path) -> Path:
    header = '<ir_version: 10, opset_import: ["" : 22]>'
    return text("g (float[4] x) => (float[4] y) { [drawn] y = RandomUniformLike (x) }", folder, header=header)


@HANDMADE(
    "RR108",
    made_by="hand: a random node in half precision",
    where={"RR108": ("^drawn$", "main graph")},
    shows=is_refused("NOT_IMPLEMENTED.*RandomUniformLike"),
)
def float16_draw(folder: Path) -> Path:
    return text("g (float[4] x) => (float16[4] y) { [drawn] y = RandomUniformLike <dtype = 10> (x) }", folder)


@HANDMADE(
    "RR109",
    made_by="hand: Multinomial of a vector",
    where={"RR109": ("^drawn$", "main graph")},
    shows=is_refused("ShapeInferenceError|rank"),
)
def multinomial_of_vector(folder: Path) -> Path:
    return text("g (float[4] x) => (int32 y) { [drawn] y = Multinomial <sample_size = 1> (x) }", folder)


@HANDMADE(
    "RR103",
    made_by="hand: a function that draws, called twice",
    where={"RR103": ("", "function local::noisy")},
    shows=is_random,
)
def function_that_draws(folder: Path) -> Path:
    return text(
        """g (float[4] x) => (float[4] y) { a = local.noisy (x)  y = local.noisy (a) }
        <domain: "local", opset_import: ["" : 20]>
        noisy (x) => (y) { n = RandomNormalLike (x)  y = Add (x, n) }""",
        folder,
        header='<ir_version: 10, opset_import: ["" : 20, "local" : 1]>',
    )


@HANDMADE("RR103", made_by="hand: a draw before a Loop and one in its body", shows=is_random)
def loop_that_draws(folder: Path) -> Path:
    return text(
        """g (float[4] x, int64 n, bool c) => (float[4] y) {
            [start] s = RandomNormalLike (x)
            [loop] y = Loop (n, c, s) <
                body = body (int64 i, bool go, float[4] s_in) => (bool go_on, float[4] s_out) {
                    go_on = Identity (go)
                    [drawn] d = RandomNormalLike (s_in)
                    s_out = Add (s_in, d)
                }
            >
        }""",
        folder,
    )


@HANDMADE("RR102", made_by="hand: training_mode is true", where={"RR102": ("^drop$", "main graph")}, shows=is_random)
def training_dropout(folder: Path) -> Path:
    return text(
        """g (float[64] x) => (float[64] y) <float ratio = {0.5}, bool train = {1}, float one = {1.0}> {
            shifted = Add (x, one)
            [drop] y = Dropout (shifted, ratio, train)
        }""",
        folder,
    )


def _first_elements_agree(file: Path) -> None:
    """Two masks of rate 1/2 would agree in half of the sessions."""
    fed = {"x": np.ones(1, np.float32), "z": np.full(1, 2, np.float32)}
    first = []
    for seed in range(200):
        onnxruntime.set_seed(1_000_003 * seed + 17)
        first.append([float(value[0]) > 0 for value in open_session(file).run(None, fed)])
    assert 0.3 < np.mean(first) < 0.7
    assert np.mean([a == b for a, b in first]) > 0.95


@HANDMADE("RR102 RR103", made_by="hand: two Dropouts in training mode", shows=_first_elements_agree)
def tied_dropouts(folder: Path) -> Path:
    return text(
        """g (float[1] x, float[1] z) => (float[1] a, float[1] b) <float ratio = {0.5}, bool train = {1}> {
            a = Dropout (x, ratio, train)
            b = Dropout (z, ratio, train)
        }""",
        folder,
    )


# Decisions


@HANDMADE(
    "RR201", made_by="hand: the condition is stored", where={"RR201": ("^site$", "main graph")}, shows=is_constant
)
def constant_if(folder: Path) -> Path:
    return text(
        """g (float[4] x) => (float[4] y) <bool c = {1}> {
            [site] y = If (c) <
                then_branch = t () => (float[4] a) { a = Exp (x) },
                else_branch = e () => (float[4] b) { b = Neg (x) }
            >
        }""",
        folder,
    )


@HANDMADE("RR201", made_by="hand: two constants are compared", where={"RR201": ("^site$", "main graph")})
def constant_comparison(folder: Path) -> Path:
    return text(
        """g (float[4] x) => (float[4] y) {
            draw = Constant <value = float {0.25}> ()
            p = Constant <value = float {0.5}> ()
            c = Less (draw, p)
            [site] y = If (c) <
                then_branch = t () => (float[4] a) { a = Exp (x) },
                else_branch = e () => (float[4] b) { b = Neg (x) }
            >
        }""",
        folder,
    )


@HANDMADE(
    "RR201",
    made_by="hand: a constant condition in a branch",
    where={"RR201": ("^inner$", "else_branch of If 'outer'")},
)
def constant_inner_if(folder: Path) -> Path:
    return text(
        """g (float[4] x, bool c) => (float[4] y) <bool always = {1}> {
            [outer] y = If (c) <
                then_branch = t () => (float[4] a) { a = Identity (x) },
                else_branch = e () => (float[4] b) {
                    [inner] b = If (always) <
                        then_branch = et () => (float[4] ba) { ba = Exp (x) },
                        else_branch = ee () => (float[4] bb) { bb = Neg (x) }
                    >
                }
            >
        }""",
        folder,
    )


@HANDMADE(
    "RR202",
    made_by="hand: what a tool leaves of a Bernoulli",
    where={"RR202": ("^bernoulli$", "main graph")},
    shows=is_constant,
)
def stored_draw(folder: Path) -> Path:
    return text(
        "g (float[4] x) => (float[4] y) { e = Exp (x)  m = Mul (e, bernoulli)  y = Add (x, m) }",
        folder,
        weights={"bernoulli": np.array([1.0], np.float32)},
    )


def _all_agree(file: Path) -> None:
    runs = draw(file, sessions=1, runs=50)[0]
    assert {tuple(run.tolist()) for run in runs} == {(0.0, 0.0), (1.0, 1.0)}


@HANDMADE("RR203", made_by="hand: one draw for two layers", where={"RR203": ("^[ab]$", "main graph")}, shows=_all_agree)
def shared_draw(folder: Path) -> Path:
    return text(
        """g (float[1] x) => (float[2] y) <float[1] p = {0.5}, float[1] one = {1.0}> {
            draw = RandomUniformLike (x)
            first = Less (draw, p)
            second = Less (draw, p)
            up = Add (x, one)
            [a] a = Where (first, up, x)
            [b] b = Where (second, up, x)
            y = Concat <axis = 0> (a, b)
        }""",
        folder,
    )


@HANDMADE(
    "RR204",
    made_by="hand: draw and probability are cast to half precision",
    where={"RR204": ("^compare$", "main graph")},
    shows=is_random,
)
def float16_comparison(folder: Path) -> Path:
    return text(
        """g (float[1] x) => (float[1] y) <float[1] one = {1.0}> {
            draw = RandomUniformLike (x)
            half = Cast <to = 10> (draw)
            [compare] c = Less (half, p)
            up = Add (x, one)
            y = Where (c, up, x)
        }""",
        folder,
        weights={"p": np.array([0.5], np.float16)},
    )


@HANDMADE("RR205", made_by="hand: a condition with a default", where={"RR205": ("^c$", "main graph")}, shows=is_frozen)
def default_condition(folder: Path) -> Path:
    return text(
        """g (float[4] x, bool c) => (float[4] y) <bool c = {1}> {
            y = If (c) <
                then_branch = t () => (float[4] a) { a = Exp (x) },
                else_branch = e () => (float[4] b) { b = Neg (x) }
            >
        }""",
        folder,
    )


def _if(condition: str, then: str, otherwise: str, result: str) -> str:
    return f"""g (float[2, 3] x) => ({result} y) <float zero = {{0.0}}, int64[1] last = {{-1}}> {{
        {condition}
        [site] y = If (c) <
            then_branch = t () => ({then}) {{ a = Exp (x) }},
            else_branch = e () => ({otherwise} }}
        >
    }}"""


FED = "total = ReduceSum <keepdims = 0> (x)  c = Greater (total, zero)"
DRAWN = "d = RandomUniformLike (x)  total = ReduceMax <keepdims = 0> (d)  c = Greater (total, zero)"


@HANDMADE(
    "RR206",
    made_by="hand: float or int64",
    where={"RR206": ("^site$", "main graph")},
    shows=is_refused("type|Type"),
)
def branch_types(folder: Path) -> Path:
    return text(_if(FED, "float[2, 3] a", "int64[2, 3] b) { b = Cast <to = 7> (x)", "float[2, 3]"), folder)


@HANDMADE("RR206", made_by="hand: rank 2 or 3", where={"RR206": ("^site$", "main graph")})
def branch_ranks(folder: Path) -> Path:
    return text(_if(DRAWN, "float[2, 3] a", "float[2, 3, 1] b) { b = Unsqueeze (x, last)", "float"), folder)


@HANDMADE("RR207", made_by="hand: 3 or 6 columns", where={"RR207": ("^site$", "main graph")})
def branch_sizes(folder: Path) -> Path:
    return text(_if(DRAWN, "float[2, 3] a", "float[2, 6] b) { b = Concat <axis = 1> (x, x)", "float[2, n]"), folder)


# Weights


@HANDMADE(
    "RR401",
    made_by="hand: a weight of the main graph, used two branches deeper",
    where={"RR401": ("^product$", "then_branch of If 'outer' > then_branch of If 'inner'")},
)
def outer_weight(folder: Path) -> Path:
    return text(
        """g (float[4, 64] x, bool c) => (float[4, 64] y) {
            [outer] y = If (c) <
                then_branch = t () => (float[4, 64] a) {
                    [inner] a = If (c) <
                        then_branch = tt () => (float[4, 64] aa) { [product] aa = MatMul (x, w) },
                        else_branch = te () => (float[4, 64] ab) { ab = Neg (x) }
                    >
                },
                else_branch = e () => (float[4, 64] b) { b = Identity (x) }
            >
        }""",
        folder,
        weights={"w": GENERATOR.standard_normal((64, 64)).astype(np.float32)},
    )


TWO_PRODUCTS = "g (float[4, 64] x) => (float[4, 64] y) { a = MatMul (x, w1)  y = MatMul (a, w2) }"


def _equal_weights() -> dict[str, np.ndarray]:
    weight = GENERATOR.standard_normal((64, 64)).astype(np.float32)
    return {"w1": weight, "w2": weight.copy()}


@HANDMADE("RR402", made_by="hand: a weight stored twice", where={"RR402": ("^w[12]$", "main graph")})
def duplicate_weight(folder: Path) -> Path:
    return text(TWO_PRODUCTS, folder, weights=_equal_weights())


def external(folder: Path, offsets: Sequence[int]) -> Path:
    """Writes the two products with their weights at these offsets of a file beside it."""
    weights = _equal_weights()
    data = bytearray(max(offsets) + weights["w1"].nbytes)
    model = parser.parse_model(f"{HEADER} {TWO_PRODUCTS}")
    for (name, value), offset in zip(weights.items(), offsets, strict=True):
        data[offset : offset + value.nbytes] = value.tobytes()
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=value.shape)
        tensor.raw_data = b""
        external_data_helper.set_external_data(tensor, "model.data", offset=offset, length=value.nbytes)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        model.graph.initializer.append(tensor)
    (folder / "model.data").write_bytes(data)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


@HANDMADE("RR402", made_by="hand: external data at two offsets", where={"RR402": ("^w[12]$", "main graph")})
def duplicate_external_weight(folder: Path) -> Path:
    return external(folder, [0, 64 * 64 * 4])


# Files


@HANDMADE("RR103 RR105", made_by="hand: nodes that no name tells apart")
def unnamed_nodes(folder: Path) -> Path:
    nodes = [
        helper.make_node("RandomUniform", [], ["a"], shape=[4]),
        helper.make_node("RandomUniform", [], ["b"], shape=[4]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    graph = helper.make_graph(nodes, "g", [], [value])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"
