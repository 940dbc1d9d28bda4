"""The proof of laziness stands on what ran and what the eager model does; what a file says of itself proves nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.capture.origins import SCOPE_KEY
from rr_export.capture.request import bind
from rr_export.parity.verify import verify_points
from tests.conftest import nodes_named

WIDTH = 8


def failures(bundle: rr.Bundle, model: nn.Module, *args: torch.Tensor) -> tuple[str, ...]:
    with bundle.folder() as folder:
        (check,) = verify_points(bundle, folder, bind(model, args), points=("laziness",))
    return check.failures


def example() -> torch.Tensor:
    return torch.linspace(-3, 3, 4 * WIDTH).reshape(4, WIDTH).sin() * 2


class Loss(nn.Module):
    """What is also a function of the standard: the loss of every row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wanted = torch.arange(x.shape[0]) % WIDTH
        return x + nn.functional.cross_entropy(x, wanted, reduction="none").unsqueeze(1)


FUNCTIONS: list[Callable[[], nn.Module]] = [
    nn.Hardswish,
    nn.Mish,
    nn.CELU,
    nn.SELU,
    lambda: nn.GroupNorm(2, WIDTH),
    Loss,
]


@pytest.fixture(scope="module")
def functions() -> tuple[rr.Bundle, nn.Module]:
    """A model whose every layer ends in an operator that ONNX Runtime expands, or might."""
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Sequential(nn.Linear(WIDTH, WIDTH), made()) for made in FUNCTIONS]).eval()
    rr.route_layers(model, "*", keep=0.5)
    return rr.export(model, (example(),)), model


def test_bug_functions_of_the_standard_were_unknown_nodes(functions: tuple[rr.Bundle, nn.Module]) -> None:
    bundle, model = functions
    assert {"HardSwish", "Mish"} <= {n.op_type for n in ir.traversal.RecursiveGraphIterator(bundle.model.graph)}
    assert failures(bundle, model, example()) == ()


def copied(bundle: rr.Bundle) -> rr.Bundle:
    """A bundle to break, whose nodes do not say where they were captured."""
    copy = rr.Bundle(ir.from_proto(ir.to_proto(bundle.model)), bundle.manifest, bundle.golden)
    for node in ir.traversal.RecursiveGraphIterator(copy.model.graph):
        node.metadata_props.pop(SCOPE_KEY, None)
    return copy


def hoist(bundle: rr.Bundle, name: str, branch: str = "then_branch", most: int | None = None) -> None:
    """The nodes of a branch, or the first of them, stand in front of their ``If``."""
    choice = next(n for n in nodes_named(bundle.model, "If") if n.name == name)
    body, outer = choice.attributes[branch].as_graph(), choice.graph
    assert outer is not None
    for node in list(body)[:most]:
        body.remove(node)
        outer.insert_before(choice, node)
    for i, value in enumerate(list(body.outputs)):
        if value.producer() is not None and value.producer().graph is outer:  # type: ignore[union-attr]
            passed = ir.node("Identity", [value], name=f"{name}/passed.{i}")
            passed.outputs[0].name, passed.outputs[0].type = f"{name}/passed.{i}/out", value.type
            body.append(passed)
            body.outputs[i] = passed.outputs[0]


def test_sabotage_a_function_hoisted_without_its_mark(functions: tuple[rr.Bundle, nn.Module]) -> None:
    bundle, model = functions
    broken = copied(bundle)
    assert failures(broken, model, example()) == ()
    hoist(broken, "0")
    found = failures(broken, model, example())
    assert any("weight '0.layer.0.weight' to be read where the eager model reads it" in text for text in found)
    assert any("which only branches that are not taken read" in text for text in found)


class Net(nn.Module):
    """Sites in sites; a mask that is always computed and that one branch alone reads; branches without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.masked = rr.LayerChoice(Masked(), keep=0.5)
        inner = rr.OperationChoice({"tanh": nn.Tanh(), "sine": Sine()}, rr.Uniform(2))
        self.outer = rr.LayerChoice(nn.Sequential(nn.ReLU(), inner), keep=0.5)
        self.last = rr.LayerChoice(nn.Softplus(), keep=0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = self.linear(x).sigmoid()
        mask[:, 0] = 1
        return self.last(self.outer(self.masked(x, mask.t())))


class Masked(nn.Module):
    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return x * mask.t()


class Sine(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sin()


@pytest.fixture(scope="module")
def nested() -> tuple[rr.Bundle, nn.Module]:
    torch.manual_seed(0)
    model = Net().eval()
    return rr.export(model, (example(),)), model


def test_a_standalone_file_is_lazy(nested: tuple[rr.Bundle, nn.Module]) -> None:
    model = nested[1]
    assert failures(rr.export(model, (example(),), interface="standalone"), model, example()) == ()


def test_what_eager_computes_for_one_branch_alone_may_be_computed(nested: tuple[rr.Bundle, nn.Module]) -> None:
    bundle, model = nested
    assert any(n.op_type == "Sigmoid" for n in bundle.model.graph)
    assert failures(bundle, model, example()) == ()
    assert failures(copied(bundle), model, example()) == ()


@pytest.mark.parametrize(("site", "branch"), [("last", "then_branch"), ("outer.layer.1", "else_branch")])
def test_sabotage_a_branch_without_weights_hoisted(nested: tuple[rr.Bundle, nn.Module], site: str, branch: str) -> None:
    bundle, model = nested
    broken = copied(bundle)
    hoist(broken, site, branch)
    assert any("which only branches that are not taken read" in text for text in failures(broken, model, example()))


def test_sabotage_a_branch_that_is_masked_and_not_skipped(functions: tuple[rr.Bundle, nn.Module]) -> None:
    """Both branches are computed, and a number chooses; an ``If`` is there for show."""
    bundle, model = functions
    broken = copied(bundle)
    choice = next(n for n in nodes_named(broken.model, "If") if n.name == "0")
    graph, result = choice.graph, choice.outputs[0]
    hoisted = choice.attributes["then_branch"].as_graph().outputs[0]
    hoist(broken, "0")
    chosen = ir.node("Where", [choice.inputs[0], hoisted, result], name="masked")
    chosen.outputs[0].name, chosen.outputs[0].type = "masked", result.type
    assert graph is not None
    graph.insert_after(choice, chosen)
    for usage in list(result.uses()):
        if usage.node is not chosen:
            usage.node.replace_input_with(usage.idx, chosen.outputs[0])
    found = failures(broken, model, example())
    assert found and all("weight '0.layer.0." in text for text in found)


def test_equal_weights_of_other_layers_are_no_alarm() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)).eval()
    model[1].load_state_dict(model[0].state_dict())
    rr.route_layers(model, "*", keep=0.5)
    bundle = rr.export(model, (example(),))
    assert failures(bundle, model, example()) == ()


@pytest.mark.parametrize("how", ["permuted", "scaled"])
def test_sabotage_a_product_hoisted_with_another_form_of_its_weight(how: str) -> None:
    """The main graph computes what a branch alone reads, by a matrix that is no weight; the branch undoes it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)).eval()
    rr.route_layers(model, "1", keep=0.5)
    broken = copied(rr.export(model, (example(),)))
    assert failures(broken, model, example()) == ()
    (choice,) = (n for n in broken.model.graph if n.op_type == "If")
    body = next(b for b in (a.as_graph() for a in choice.attributes.values()) if any(n.op_type == "Gemm" for n in b))
    gemm = next(n for n in body if n.op_type == "Gemm")
    weight, bias = (v.const_value.numpy() for v in gemm.inputs[1:])  # type: ignore[union-attr]
    order = np.arange(WIDTH)[::-1].copy()
    changed = (weight[order], bias[order]) if how == "permuted" else (weight * 3, bias * 3)
    undone = ("Gather", order) if how == "permuted" else ("Div", np.float32(3))
    main = broken.model.graph
    constants = [
        ir.node("Constant", [], {"value": ir.tensor(np.array(array))}, name=f"other.{i}")
        for i, array in enumerate((*changed, undone[1]))
    ]
    for node in constants:
        node.outputs[0].name, node.outputs[0].dtype = f"{node.name}/out", node.attributes["value"].as_tensor().dtype
    product = ir.node("Gemm", [gemm.inputs[0], *(n.outputs[0] for n in constants[:2])], {"transB": 1}, name="hoisted")
    assert gemm.attributes["transB"].as_int() == 1
    product.outputs[0].name, product.outputs[0].type = "hoisted/out", gemm.outputs[0].type
    main.insert_before(choice, [*constants, product])
    back = ir.node(undone[0], [product.outputs[0], constants[2].outputs[0]], {"axis": 1} if how == "permuted" else {})
    back.outputs[0].name, back.outputs[0].type = "undone", gemm.outputs[0].type
    body.insert_before(gemm, back)
    ir.convenience.replace_all_uses_with(gemm.outputs[0], back.outputs[0], replace_graph_outputs=True)
    body.remove(gemm, safe=True)
    found = failures(broken, model, example())
    assert any("'hoisted/out', which only branches that are not taken read" in text for text in found)
    assert any("which is no weight or value of the eager model" in text for text in found)


class Tables(nn.Module):
    """A table of the code's own, and one computed of a weight, that one branch alone reads."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.masked = rr.LayerChoice(Masked(), keep=0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table = torch.tensor([[0.1 * i + j for i in range(WIDTH)] for j in range(4)]).cos()
        return self.masked(self.linear(x), (table * x.sum() @ self.linear.weight.flip(0)).t())


def test_tables_that_eager_reads_may_be_read() -> None:
    torch.manual_seed(0)
    model = Tables().eval()
    assert failures(rr.export(model, (example(),)), model, example()) == ()
