"""Weights that no input shows are compared all the same."""

import copy
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.parity.named_weights import SHOWN
from rr_export.parity.verify import verify_points

TOKENS = torch.tensor([[1, 2], [3, 4]])


def classifier(dtype: torch.dtype = torch.float32) -> nn.Module:
    """Tokens -> numbers; of 8 rows of its table the example takes four, and a buffer is part of what it computes."""
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(2), nn.ReLU()) for _ in range(2)]
    model = nn.Sequential(nn.Embedding(8, 4), *layers, nn.Linear(4, 3)).eval().to(dtype)
    rr.route_layers(model, "[12]", keep=0.5)
    return model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rr.export(classifier(), (TOKENS,)).save(tmp_path_factory.mktemp("weights") / "out")


def failed(place: Path, model: nn.Module) -> dict[str, tuple[str, ...]]:
    with pytest.raises(rr.ParityError) as told:
        rr.verify(place, model, (TOKENS,))
    assert told.value.report is not None
    return {check.name: check.failures for check in told.value.report.checks if check.passed is False}


def test_all_weights_are_compared(place: Path) -> None:
    model = classifier()
    check = next(c for c in rr.verify(place, model, (TOKENS,)).checks if c.name == "weights")
    assert check.passed
    assert check.summary == f"{len([*model.parameters(), *model.buffers()])} parameters and buffers, bit for bit"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_weights_of_other_types_are_compared(dtype: torch.dtype, tmp_path: Path) -> None:
    model = classifier(dtype)
    place = rr.export(model, (TOKENS,)).save(tmp_path / "out")
    check = next(c for c in rr.verify(place, classifier(dtype), (TOKENS,)).checks if c.name == "weights")
    assert check.passed and check.figures["compared"] > 8
    with torch.no_grad():
        model[0].weight[7] += 1
    assert failed(place, model) == {"weights": ("weight '0.weight': expected the numbers of the model, got others",)}


def test_weights_that_the_exporter_computes_of_others_are_compared() -> None:
    def folded() -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Sequential(nn.Linear(4, 4), nn.ReLU())).eval()
        model[1].running_mean.uniform_()
        rr.route_layers(model, "2", keep=0.5)
        return model

    model, x = folded(), torch.randn(3, 4)
    bundle = rr.export(model, (x,))
    assert rr.verify(bundle, model, (x,)).passed
    other = folded()
    other[1].running_mean[0] = torch.nextafter(other[1].running_mean[0], torch.tensor(9.0))
    with pytest.raises(rr.ParityError) as told:
        rr.verify(bundle, other, (x,))
    assert told.value.report is not None
    assert [check.name for check in told.value.report.checks if check.passed is False] == ["weights"]


@pytest.mark.slow
def test_bug_a_model_that_has_filled_a_cache_since_its_export_is_the_same() -> None:
    """LeViT keeps a table of its biases when it first runs; what is computed of weights is counted otherwise then."""
    transformers = pytest.importorskip("transformers")
    three = {name: [size] * 3 for name, size in (("hidden_sizes", 16), ("depths", 1), ("key_dim", 8))}
    ones = {"num_attention_heads": [1] * 3, "mlp_ratio": [2] * 3, "attention_ratio": [2] * 3}
    torch.manual_seed(0)
    model = transformers.LevitModel(transformers.LevitConfig(image_size=64, **three, **ones)).eval()
    rr.route_layers(model, "encoder.stages.0.layers.[01]", keep=0.5)
    pixels = {"pixel_values": torch.randn(2, 3, 64, 64)}
    other = copy.deepcopy(model)
    norm = next(module for module in other.modules() if isinstance(module, nn.BatchNorm2d))
    with torch.no_grad():
        norm.running_mean[0] += 1
        other(**pixels)
    bundle = rr.export(model, (), pixels)

    def weights_are_those_of(now: nn.Module) -> bool | None:
        (check,) = verify_points(bundle, folder, bind(now, (), pixels), points=("weights",))
        assert check.passed is not None, check.summary
        return check.passed

    with bundle.folder() as folder:
        assert weights_are_those_of(model)
        assert weights_are_those_of(other) is False


def unseen_row(model: nn.Module) -> None:
    model.get_parameter("0.weight")[7, 0] += 1


def least_bit(model: nn.Module) -> None:
    weight = model.get_parameter("3.weight")
    weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))


@pytest.mark.parametrize(("change", "name"), [(unseen_row, "0.weight"), (least_bit, "3.weight")])
def test_a_weight_that_no_value_shows_is_found(place: Path, change: Callable[[nn.Module], None], name: str) -> None:
    model = classifier()
    with torch.no_grad():
        change(model)
    assert failed(place, model) == {"weights": (f"weight {name!r}: expected the numbers of the model, got others",)}
    near = rr.verify(place, model, (TOKENS,), rtol=1e-3, atol=1e-3)
    check = next(c for c in near.checks if c.name == "weights")
    assert check.passed is None and "tolerances were asked for" in check.summary


def test_what_differs_is_named_and_many_are_counted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rr_export.parity.weights_check.SHOWN", 2)
    model = classifier()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    texts = failed(place, model)["weights"]
    assert len(texts) == 3 and SHOWN > 2
    assert re.fullmatch(r"and [5-9] more; export the model as it is now", texts[2]), "equal ones are stored once"


def test_a_rewritten_file_with_other_weights_says_so(place: Path, tmp_path: Path) -> None:
    model = onnx.load(place / "model.onnx")
    same = rr.verify_against(place / "model.onnx", place).checks
    (check,) = [c for c in same if c.name == "weights"]
    assert check.passed and check.figures["differing"] == []
    (table,) = [t for t in model.graph.initializer if t.name == "0.weight"]
    rows = onnx.numpy_helper.to_array(table).copy()
    rows[7] += 1
    table.CopyFrom(onnx.numpy_helper.from_array(rows, table.name))
    onnx.save(model, tmp_path / "changed.onnx")
    (check,) = [c for c in rr.verify_against(tmp_path / "changed.onnx", place).checks if c.name == "weights"]
    assert check.passed is None and "1 of them other numbers (0.weight); compare on your own" in check.summary
    with pytest.raises(rr.ParityError):
        rr.verify_against(tmp_path / "changed.onnx", place, data=[{"input": np.array([[7, 7], [7, 7]])}])
