"""What once was reported wrongly, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper, parser
from onnxruntime.transformers import float16
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import LintError
from rr_export.lint.finding import Finding
from rr_export.lint.linter import lint
from tests.lint.rewritten import quiet


def linted(text: str, folder: Path, *, imports: str = '"" : 20') -> list[Finding]:
    model = parser.parse_model(f"<ir_version: 9, opset_import: [{imports}]> {text}")
    onnx.save(model, folder / "model.onnx")
    return lint(folder / "model.onnx")


def codes(findings: list[Finding], *severities: str) -> set[str]:
    return {f.code for f in findings if f.severity in (severities or ("error", "warning"))}


def exported(model: nn.Module, folder: Path) -> list[Finding]:
    with quiet():
        torch.onnx.export(model.eval(), (torch.ones(2, 8),), folder / "model.onnx", dynamo=True, verbose=False)
    return lint(folder / "model.onnx")


TWO_DRAWS = """g (float[2] x) => (float[2] y) {
    a = RandomUniform <shape = [1]> ()
    b = RandomUniform <shape = [1]> ()
    half = Constant <value_floats = [0.5]> ()
    p = Less (a, half)
    q = Less (b, half)
    z = If (p) < then_branch = t () => (float[2] c) {c = Neg (x)}, else_branch = e () => (float[2] d) {d = Abs (x)} >
    y = If (q) < then_branch = u () => (float[2] f) {f = Neg (z)}, else_branch = v () => (float[2] h) {h = Abs (z)} >
}"""


@pytest.mark.parametrize("imports", ['"" : 20', '"ai.onnx" : 20'])
def test_the_default_domain_has_two_names(imports: str, tmp_path: Path) -> None:
    assert codes(linted(TWO_DRAWS, tmp_path, imports=imports), "error") == {"RR103", "RR105"}


class Layers(nn.Module):
    """Four layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))
        self.weights = nn.Parameter(torch.rand(4, 8, 8))


class DropPath(Layers):
    """Stochastic depth as timm writes it."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x) * (0.8 + torch.rand(1, 1)).floor() / 0.8
        return x


class Gumbel(Layers):
    """One of four parameter sets, by the largest of noisy logits."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = x @ self.weights[(-torch.log(-torch.log(torch.rand(4)))).argmax()]
        return x


class RandomIndex(Layers):
    """One of four parameter sets, by a whole number."""

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = x @ self.weights[torch.randint(4, (1,))[0]]
        return x


@pytest.mark.parametrize("model", [DropPath, Gumbel, RandomIndex])
def test_routing_without_a_comparison(model: type[Layers], tmp_path: Path) -> None:
    assert codes(exported(model(), tmp_path), "error") == {"RR103", "RR105"}


class Shared(Layers):
    """Layers that run or are skipped all at once."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        u = torch.rand_like(x)[0]
        for layer in self.layers:
            keep = {
                "same": u[0] < 0.3,
                "mirrored": 1 - u[0] < 0.3,
                "mean": u.mean() < 0.3,
                "both": (u[0] > 0.1) & (u[1] > 0.1),
            }[self.kind]
            x = torch.where(keep, layer(x), x)
        return x


@pytest.mark.parametrize("kind", ["same", "mirrored", "mean", "both"])
def test_one_number_for_all_layers(kind: str, tmp_path: Path) -> None:
    assert codes(exported(Shared(kind), tmp_path)) == {"RR203"}


class Vector(Layers):
    """Independent layers by one vector."""

    def forward(self, x: Tensor) -> Tensor:
        u = torch.rand_like(x)[0]
        for i, layer in enumerate(self.layers):
            x = torch.where(u[i] < 0.3, layer(x), x)
        return x


def test_draws_that_are_rounded_on_the_way(tmp_path: Path) -> None:
    """With random and comparison nodes kept in float32 the converter rounds what lies between."""
    assert codes(exported(Vector(), tmp_path)) == set()
    blocked = [*float16.DEFAULT_OP_BLOCK_LIST, "Less"]
    with quiet():
        model = float16.convert_float_to_float16(onnx.load(tmp_path / "model.onnx"), True, op_block_list=blocked)
    onnx.save(model, tmp_path / "half.onnx")
    assert codes(lint(tmp_path / "half.onnx"), "error") == {"RR204"}


def test_a_routed_file_in_half_precision_is_clean(tmp_path: Path) -> None:
    """Routing is in whole numbers, and the random node draws doubles."""
    model = nn.Sequential(*(rr.LayerChoice(nn.Linear(8, 8), 0.5) for _ in range(3))).eval()
    folder = rr.export(model, (torch.ones(2, 8),)).save(tmp_path / "bundle")
    with quiet():
        half = float16.convert_float_to_float16(onnx.load(folder / "model.onnx"), keep_io_types=True)
    onnx.save(half, tmp_path / "half.onnx")
    assert lint(tmp_path / "half.onnx") == []
    assert rr.verify_against(tmp_path / "half.onnx", folder, rtol=0.02, atol=0.01).passed


@pytest.mark.parametrize("compared", ["c", "x"])
def test_a_mask_that_compares_constants(compared: str, tmp_path: Path) -> None:
    text = """g (float[1] x) => (float[1] y) {
        c = Constant <value_floats = [0.3]> ()
        half = Constant <value_floats = [0.5]> ()
        keep = Less (COMPARED, half)
        mask = Cast <to = 1> (keep)
        z = Neg (x)
        y = Mul (z, mask)
    }"""
    assert codes(linted(text.replace("COMPARED", compared), tmp_path)) == ({"RR201"} if compared == "c" else set())


def test_branches_with_different_numbers_of_outputs(tmp_path: Path) -> None:
    findings = linted(
        """g (bool c, float[2] x) => (float[2] y) {
            y = If (c) <
                then_branch = t () => (float[2] a, float[2] b) { a = Neg (x)  b = Abs (x) },
                else_branch = e () => (float[2] d) { d = Abs (x) }
            >
        }""",
        tmp_path,
    )
    assert codes(findings) == {"RR206"}


def test_a_default_that_decides_a_loop_or_a_where(tmp_path: Path) -> None:
    text = """g (int64 n, bool go, bool c, float[2] x) => (float[2] y) {
        z = Loop (n, go, x) < body = b (int64 i, bool k, float[2] p) => (bool k2, float[2] q) {
            k2 = Identity (k)
            q = Neg (p)
        } >
        w = Abs (x)
        y = Where (c, z, w)
    }"""
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]> {text}')
    model.graph.initializer.append(numpy_helper.from_array(np.array(3), "n"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "c"))
    onnx.save(model, tmp_path / "model.onnx")
    findings = lint(tmp_path / "model.onnx")
    assert [(f.code, f.node) for f in findings] == [("RR205", "n"), ("RR205", "c")]


@pytest.mark.parametrize(
    ("name", "numbers", "found"),
    [
        ("rand_3", [0.25, 0.75], True),
        ("rand", [5.0, -3.0], False),
        ("prior.bernoulli", [0.2, 0.7], False),
        ("/Bernoulli_1_output_0", [1.0, 0.0], True),
        ("randint", [0.5, 2.0], False),
    ],
)
def test_names_of_draws(name: str, numbers: list[float], found: bool, tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.array(numbers, np.float32), name)
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Mul", ["x", name], ["y"])], "g", [x], [y], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "model.onnx")
    assert codes(lint(tmp_path / "model.onnx")) == ({"RR202"} if found else set())


def test_dropout_that_drops_nothing_and_old_dropout(tmp_path: Path) -> None:
    text = """g (float[2] x) => (float[2] y) {
        ratio = Constant <value_float = 0.0> ()
        mode = Constant <value = bool {1}> ()
        y = Dropout (x, ratio, mode)
    }"""
    assert linted(text, tmp_path) == []
    old = "g (float[2] x) => (float[2] y) { y = Dropout <ATTRIBUTE> (x) }"
    assert "RR102" in codes(linted(old.replace("<ATTRIBUTE>", ""), tmp_path, imports='"" : 6'))
    assert linted(old.replace("ATTRIBUTE", "is_test = 1"), tmp_path, imports='"" : 6') == []


def test_operators_that_onnx_does_not_know_and_that_have_a_seed(tmp_path: Path) -> None:
    text = "g (float[2] x) => (float[2] y) { y = somebody.Noise <seed = 3> (x) }"
    findings = linted(text, tmp_path, imports='"" : 20, "somebody" : 1')
    assert codes(findings) == {"RR107"}


def test_odd_seeds(tmp_path: Path) -> None:
    """A seed of NaN is no reason to fail; 0 and 1 give one stream."""
    for seeds, text in ((("nan", "2.0"), None), (("0.0", "1.0"), "equal seeds 1")):
        draws = "".join(f"{n} = RandomUniform <shape = [2], seed = SEED{n}> ()\n" for n in "ab")
        model = parser.parse_model(
            '<ir_version: 9, opset_import: ["" : 20]> g (float[2] x) => (float[2] y) {'
            + draws.replace("SEEDa", "0.5").replace("SEEDb", "0.5")
            + "y = Sum (a, b, x) }"
        )
        for node, seed in zip(model.graph.node, seeds, strict=False):
            node.attribute[1].f = float(seed)
        onnx.save(model, tmp_path / "model.onnx")
        (tied,) = (f for f in lint(tmp_path / "model.onnx") if f.code == "RR103")
        assert text is None or text in tied.message


def test_findings_in_functions_name_the_function(tmp_path: Path) -> None:
    model = parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 20, "my" : 1]>
        g (float[2] x) => (float[2] y) { y = my.noisy (x) }
        <domain: "my", opset_import: ["" : 20]> noisy (a) => (b) { b = Bernoulli (a) }"""
    )
    onnx.save(model, tmp_path / "model.onnx")
    assert {f.place for f in lint(tmp_path / "model.onnx")} == {"function my::noisy"}


@pytest.mark.parametrize("node", [("If", []), ("Cast", []), ("Multinomial", []), ("Shape", [])])
def test_malformed_nodes_are_an_error_of_the_file(node: tuple[str, list[str]], tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2]) for n in "xy")
    graph = helper.make_graph([helper.make_node(*node, ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "model.onnx")
    try:
        lint(tmp_path / "model.onnx")
    except LintError as error:
        assert "model.onnx" in str(error)


def test_the_order_of_findings_does_not_change(tmp_path: Path) -> None:
    lines = [f"c{i} = Less (u, t)\nm{i} = Cast <to = 1> (c{i})\n" for i in range(6)]
    text = (
        "g (float16[4] x) => (float y) {\n u = RandomUniformLike <dtype = 10> (x)\n t = CastLike (x, u)\n"
        + "".join(lines)
        + "s = Sum (m0, m1, m2, m3, m4, m5)\n a = Neg (s)\n z = Constant <value_float = 0.5> ()\n c = Less (s, z)\n"
        + " y = Where (c, a, s)\n }"
    )
    runs = [[(f.code, f.node) for f in linted(text, tmp_path)] for _ in range(3)]
    assert runs[0] == runs[1] == runs[2] and len(runs[0]) > 6


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither shape inference's tracebacks nor onnxruntime's messages."""
    linted(TWO_DRAWS.replace("half = Constant <value_floats = [0.5]> ()", "half = Shape (x)"), tmp_path)
    done = capfd.readouterr()
    assert done.out == done.err == ""
