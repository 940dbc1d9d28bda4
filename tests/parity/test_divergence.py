"""Where two models part: the cause is made, and has to be found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.parity.divergence import differing_weights, searched
from rr_export.parity.model_divergence import divergence_from_model
from rr_export.parity.terms import Terms
from rr_export.report.divergence import Divergence


class Block(nn.Module):
    scale = 2.0

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(self.inner(x)) * self.scale
        return self.norm(y + x)


class Larger(Block):
    scale = 2.5


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList(Block() for _ in range(3)), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        for layer in self.layers:
            x = layer(x)
        return {"logits": self.head(x), "hidden": x}


ARGS = (torch.linspace(-1, 1, 32).reshape(4, 8),)


def made() -> nn.Module:
    torch.manual_seed(0)
    model = Net().eval()
    rr.route_layers(model, "layers.*", keep=0.8)
    return model


def layer(model: nn.Module, number: int) -> Block:
    found = model.get_submodule(f"layers.{number}").layer
    assert isinstance(found, Block)
    return found


def other_weight(model: nn.Module) -> None:
    with torch.no_grad():
        layer(model, 1).inner.weight[2, 3] += 0.5


def other_shared_weight(model: nn.Module) -> None:
    """Its bytes were those of the first layer's, which is what the file stores."""
    with torch.no_grad():
        layer(model, 2).norm.bias[0] = 0.5


def other_code(model: nn.Module) -> None:
    layer(model, 1).__class__ = Larger


def other_head(model: nn.Module) -> None:
    with torch.no_grad():
        model.get_submodule("head").weight.zero_()


@pytest.fixture(scope="module", params=["explicit", "standalone"])
def bundle(request: pytest.FixtureRequest) -> rr.Bundle:
    return rr.export(made(), ARGS, interface=request.param)


@pytest.fixture(scope="module")
def explicit() -> rr.Bundle:
    return rr.export(made(), ARGS)


def divergence(bundle: rr.Bundle, model: nn.Module) -> Divergence:
    found = divergence_from_model(bundle, bind(model, ARGS), (0, 1, 1), Terms())
    assert found is not None
    return found


def test_a_report_of_differences_says_where_they_part(explicit: rr.Bundle) -> None:
    model = made()
    other_weight(model)
    with pytest.raises(rr.ParityError, match="where they part") as caught:
        rr.verify(explicit, model, ARGS, max_paths=4)
    found = caught.value.report.divergence
    assert found.weights == ("layers.1.layer.inner.weight",) and found.first.module == "layers.1.layer.inner"
    assert found.path[1] == 1  # where the layer runs, and not where it is skipped


@pytest.mark.parametrize(
    ("change", "weights", "module", "operator", "site"),
    [
        (other_weight, ("layers.1.layer.inner.weight",), "layers.1.layer.inner", "Gemm", "layers.1"),
        (other_shared_weight, ("layers.2.layer.norm.bias",), "layers.2.layer.norm", "LayerNormalization", "layers.2"),
        (other_code, (), "layers.1.layer", "Mul", "layers.1"),
        (other_head, ("head.weight",), "head", "Gemm", ""),
    ],
)
def test_the_first_cause_is_found(
    bundle: rr.Bundle, change: Callable[[nn.Module], None], weights: tuple[str, ...], module: str, operator: str,
    site: str,
) -> None:  # fmt: skip
    model = made()
    change(model)
    found = divergence(bundle, model)
    assert tuple(name.replace(".layer.", ".", 1) for name in found.weights) == tuple(
        name.replace(".layer.", ".", 1) for name in weights
    )
    assert found.first is not None and found.first.module == module and found.first.node.endswith(f"({operator})")
    assert (found.first.site, found.first.branch) == ((site, "run") if site else ("", ""))
    assert found.first.line.startswith("test_divergence.py:")
    assert found.first.difference > 1e-3 and found.first.expected != found.first.got
    if site:
        assert found.path[int(site[-1])] == 1
        assert found.growth[-1][0] == "head"


def test_nothing_is_found_where_nothing_parts(bundle: rr.Bundle) -> None:
    for path in ((1, 1, 1), (0, 1, 0)):
        assert divergence_from_model(bundle, bind(made(), ARGS), path, Terms()) is None
    assert differing_weights(bundle.model, bundle.model.clone()) == ()


def test_a_fault_of_the_exporter_is_found_by_what_modules_return(
    explicit: rr.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is what a capture gives now, and yet not the model: only the model itself can tell."""
    monkeypatch.setattr("rr_export.parity.model_divergence.captured_now", lambda *_: explicit.model)
    model = made()
    other_weight(model)
    found = divergence(explicit, model)
    assert found.weights == () and found.first is not None
    assert found.first.module == "layers.1.layer.inner" and found.first.site == "layers.1"


def test_a_search_that_fails_takes_nothing_from_the_verdict() -> None:
    def fails() -> None:
        raise ZeroDivisionError("no cause")

    found = searched(fails, (1, 0))
    assert found is not None and found.path == (1, 0) and "ZeroDivisionError: no cause" in found.note


def test_the_input_on_which_they_part_is_looked_at() -> None:
    """On the example nothing differs."""

    class Rare(nn.Module):
        def __init__(self, slope: float) -> None:
            super().__init__()
            self.choice, self.slope = rr.LayerChoice(nn.Linear(4, 4), 0.5), slope

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.choice(x) + torch.relu(x - 1e4) * self.slope

    torch.manual_seed(0)
    one, other = Rare(3.0).eval(), Rare(2.0).eval()
    other.load_state_dict(one.state_dict())
    bundle, args = rr.export(one, (torch.ones(2, 4),)), (torch.ones(2, 4),)
    data = [torch.ones(2, 4), torch.full((2, 4), 2e4), torch.zeros(2, 4)]
    with pytest.raises(rr.ParityError) as caught:
        rr.verify(bundle, other, args, data=data)
    report = caught.value.report
    (failed,) = [check for check in report.checks if check.passed is False]
    assert failed.name == "data" and all(text.startswith("input 1,") for text in failed.failures)
    assert report.divergence.first.node.endswith("(Mul)"), report.divergence


def test_a_rewritten_file_is_compared_with_its_bundle(explicit: rr.Bundle, tmp_path: Path) -> None:
    folder = explicit.save(tmp_path / "out")
    proto = onnx.load(folder / "model.onnx")
    (weight,) = [w for w in proto.graph.initializer if w.name == "head.bias"]
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) + np.float32(1), weight.name))
    onnx.save(proto, tmp_path / "rewritten.onnx")
    with pytest.raises(rr.ParityError) as caught:
        rr.verify_against(tmp_path / "rewritten.onnx", folder, max_paths=2)
    found = caught.value.report.divergence
    assert found.weights == ("head.bias",) and found.first.name == "logits"
    assert found.first.difference == pytest.approx(1, abs=1e-4)


def test_an_operator_in_the_place_of_another_is_the_first_cause(explicit: rr.Bundle, tmp_path: Path) -> None:
    folder = explicit.save(tmp_path / "out")
    proto = onnx.load(folder / "model.onnx")
    branches = [a.g for node in proto.graph.node if node.op_type == "If" for a in node.attribute]
    tanh = [node for branch in branches for node in branch.node if node.op_type == "Tanh"][1]
    tanh.op_type = "Sigmoid"
    onnx.save(proto, tmp_path / "other.onnx")
    with pytest.raises(rr.ParityError) as refused:
        rr.verify_against(tmp_path / "other.onnx", folder, max_paths=4)
    first = refused.value.report.divergence.first
    assert (first.name, first.site) == (tanh.output[0], "layers.1")
    assert first.node == f"{tanh.name} (Sigmoid in place of Tanh)"


def test_bug_numbers_that_are_drawn_anew_are_no_cause(explicit: rr.Bundle, tmp_path: Path) -> None:
    """The random node of the file draws others than that of the bundle, here always; the cause is a weight."""
    path = explicit.save(tmp_path / "out") / "model.onnx"
    proto = onnx.load(path)
    (random,) = (node for node in proto.graph.node if node.op_type == "RandomUniformLike")
    random.attribute.append(onnx.helper.make_attribute("seed", 1.0))
    weight = next(w for w in proto.graph.initializer if w.name.endswith("1.layer.inner.bias"))
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) + 0.5, weight.name))
    onnx.save(proto, tmp_path / "other.onnx")
    with pytest.raises(rr.ParityError) as refused:
        rr.verify_against(tmp_path / "other.onnx", explicit, max_paths=2)
    divergence = refused.value.report.divergence
    assert divergence.weights == (weight.name,)
    assert divergence.first is not None and "RandomUniformLike" not in divergence.first.node


def test_a_model_that_is_not_captured_any_more_is_said_so(explicit: rr.Bundle) -> None:
    class Asks(Block):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + np.float32(x.detach().sum().numpy())

    model = made()
    layer(model, 1).__class__ = Asks
    found = divergence_from_model(explicit, bind(model, ARGS), (1, 1, 1), Terms())
    assert found is not None and "not captured" in found.note and found.first is None


class Two(nn.Module):
    """Two lines that may change places."""

    def __init__(self, end: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(8, 8) for _ in range(3))
        self.choice, self.end = rr.LayerChoice(nn.Linear(8, 8), 0.5), end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = torch.tanh(self.a(x))
        b = torch.tanh(self.b(x))
        return self.c(torch.tanh(self.choice(a - b)))


class Swapped(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b = torch.tanh(self.b(x))
        a = torch.tanh(self.a(x))
        return self.c(self.end(self.choice(a - b)))


def seeded_model(kind: type[nn.Module], *args: object) -> nn.Module:
    torch.manual_seed(0)
    return kind(*args).eval()


def test_bug_lines_that_changed_places_were_the_cause() -> None:
    bundle = rr.export(seeded_model(Two, torch.tanh), ARGS)
    assert divergence_from_model(bundle, bind(seeded_model(Swapped, torch.tanh), ARGS), (1,), Terms()) is None
    found = divergence_from_model(bundle, bind(seeded_model(Swapped, torch.sin), ARGS), (1,), Terms())
    assert found is not None and found.first is not None and found.first.node.endswith("(Tanh in place of Sin)")
    assert [module for module, _ in found.growth] == ["c"] and not found.weights


class Activated(nn.Module):
    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.inner, self.act, self.choice = nn.Linear(8, 8), act, rr.LayerChoice(nn.Linear(8, 8), 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.choice(x + self.act(self.inner(x)))


def test_bug_a_module_in_the_place_of_another_was_not_the_cause() -> None:
    bundle = rr.export(seeded_model(Activated, nn.GELU()), ARGS)
    found = divergence_from_model(bundle, bind(seeded_model(Activated, nn.SiLU()), ARGS), (1,), Terms())
    assert found is not None and found.first is not None
    assert found.first.module == "act" and "(Gelu in place of" in found.first.node


def test_bug_other_sites_failed_the_search_for_the_cause(explicit: rr.Bundle) -> None:
    model = Net().eval()
    rr.route_layers(model, "layers.0", keep=0.8)
    with pytest.raises(rr.ParityError) as caught:
        rr.verify(explicit, model, ARGS)
    found = caught.value.report.divergence
    assert found is None or (not found.note and found.weights)


def test_a_rewritten_file_is_told_by_the_modules_whose_weights_it_takes(explicit: rr.Bundle, tmp_path: Path) -> None:
    folder = explicit.save(tmp_path / "out")
    proto = onnx.load(folder / "model.onnx")
    weight = next(w for w in proto.graph.initializer if w.name.endswith("1.layer.inner.weight"))
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 2, weight.name))
    onnx.save(proto, tmp_path / "other.onnx")
    with pytest.raises(rr.ParityError) as refused:
        rr.verify_against(tmp_path / "other.onnx", folder, max_paths=4)
    found = refused.value.report.divergence
    assert found.first.module == "layers.1.layer.inner" and found.growth[-1][0] == "head"


def test_bug_the_branch_of_a_node_was_that_of_the_path(explicit: rr.Bundle, tmp_path: Path) -> None:
    """The file takes the other branch of the second layer."""
    folder = explicit.save(tmp_path / "out")
    proto = onnx.load(folder / "model.onnx")
    second = next(node for node in proto.graph.node if node.op_type == "If" and "layers.1" in node.name)
    place = list(proto.graph.node).index(second)
    proto.graph.node.insert(place, onnx.helper.make_node("Not", [second.input[0]], ["turned"]))
    next(node for node in proto.graph.node if node.name == second.name).input[0] = "turned"
    onnx.save(proto, tmp_path / "turned.onnx")
    with pytest.raises(rr.ParityError) as refused:
        rr.verify_against(tmp_path / "turned.onnx", folder, max_paths=8)
    found = refused.value.report.divergence
    assert found.path[1] == 0 and (found.first.site, found.first.branch) == ("layers.1", "run")
    assert found.first.expected == "nothing computed"
