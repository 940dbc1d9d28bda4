"""Nothing is reported where nothing is wrong: our own files, deterministic exports, onnx's own tests, other people's.

What is reported on them all the same is listed, with the reason.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.backend.test
import onnxoptimizer
import onnxruntime
import pytest
import torch
from onnx.backend.test.case.node import collect_testcases
from onnxruntime.quantization import quantize_dynamic
from torch import Tensor, nn

import rr_export as rr
from rr_export.lint.finding import Finding
from rr_export.lint.linter import lint
from tests import nets
from tests.lint.rewritten import folded, quiet, simplified, slimmed
from tests.lint.rewritten import optimised as optimised_by_onnxscript
from tests.lint.sabotaged import MODELS, bundle_file
from tests.lint.specimen import draw
from tests.lint.stock import save as save_proto

INTERFACES = ("explicit", "host", "standalone")


def serious(findings: list[Finding]) -> list[str]:
    return [str(f) for f in findings if f.severity != "note"]


def optimised(file: Path, level: str) -> Path:
    """What onnxruntime saves of a file once it has optimised it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath, options.log_severity_level = str(file.with_name("optimised.onnx")), 4
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return file.with_name("optimised.onnx")


# Ours


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("name", MODELS)
def test_our_files_are_clean(name: str, interface: str, tmp_path: Path) -> None:
    file = bundle_file(interface, tmp_path, name=name)
    assert lint(file) == []
    assert serious(lint(optimised(file, "ORT_ENABLE_BASIC"))) == []
    assert serious(lint(optimised(file, "ORT_ENABLE_EXTENDED"))) == []


@pytest.mark.parametrize("name", MODELS)
def test_our_host_files_are_clean_for_openvino(name: str, tmp_path: Path) -> None:
    assert lint(bundle_file("host", tmp_path, name=name), engine="openvino") == []


def test_our_bundles_are_clean(saved: Path) -> None:
    assert lint(saved) == []


def test_our_external_data_is_clean(everything_model: nn.Module, tmp_path: Path) -> None:
    bundle = rr.export(everything_model, (nets.example(),))
    assert lint(bundle.save(tmp_path / "bundle", external_data=True)) == []


def test_our_parameter_sets_are_clean(tmp_path: Path) -> None:
    """Of a size at which equal weights would be reported."""
    torch.manual_seed(0)
    choice = rr.ParameterChoice(nn.Linear(64, 64), 4, rr.Uniform(4))
    for copy in choice.copies:
        copy.reset_parameters()
    bundle = rr.export(nn.Sequential(choice).eval(), (torch.randn(2, 64),))
    assert lint(bundle.save(tmp_path / "model.onnx")) == []


@pytest.mark.filterwarnings("ignore:.*sites.*")
def test_a_model_without_sites_is_clean(tmp_path: Path) -> None:
    bundle = rr.export(nn.Sequential(nn.Linear(8, 8), nn.ReLU()).eval(), (torch.randn(2, 8),))
    assert lint(bundle.save(tmp_path / "model.onnx")) == []


def _quantised(model: onnx.ModelProto) -> onnx.ModelProto:
    with quiet(), tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        onnx.save(model, source)
        quantize_dynamic(source, target, extra_options={"EnableSubgraph": True})
        return onnx.load(target)


TOOLS: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "onnxsim": simplified,
    "onnxslim": slimmed,
    "onnxoptimizer": onnxoptimizer.optimize,
    "onnx_graphsurgeon": folded,
    "onnxscript": optimised_by_onnxscript,
    "quantize_dynamic": _quantised,
}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("interface", INTERFACES)
def test_our_files_are_clean_after_other_tools(tool: str, interface: str, tmp_path: Path) -> None:
    """What rr.export makes survives them, and the linter knows."""
    model = TOOLS[tool](onnx.load(bundle_file(interface, tmp_path, name="everything")))
    if model.metadata_props:
        assert serious(lint(save_proto(model, tmp_path))) == []
    else:  # without the manifest nobody knows that both calls of one site are meant to share their route
        assert tool == "onnx_graphsurgeon"
        found = {(f.code, f.node) for f in lint(save_proto(model, tmp_path)) if f.severity != "note"}
        assert found == (set() if interface == "host" else {("RR203", "first")})


# Deterministic exports


class Transformer(nn.Module):
    """Embedding, two encoder layers with dropout, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 5)
        for parameter in self.parameters():  # the layers start as equal copies
            nn.init.normal_(parameter)

    def forward(self, tokens: Tensor) -> Tensor:
        result: Tensor = self.head(self.encoder(self.embed(tokens)).mean(1))
        return result


class Masked(nn.Module):
    """Where with data, with a stored mask, and with a stored flag beside a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("causal", torch.ones(6, 6).tril().bool())
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.where(self.causal, self.linear(x), torch.tensor(-1e9))
        return torch.where(x > 0, scores.softmax(-1), self.linear(scores))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16, num_layers=2, dropout=0.3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.lstm(x)[0]
        return result


class Branching(nn.Module):
    """Control flow on data."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.cond(x.sum() > 0, lambda x: self.linear(x), lambda x: x * 2, (x,))
        return result


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Dropout(0.5), nn.Linear(64, 64), nn.LayerNorm(64))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.2), nn.MaxPool2d(2), nn.Flatten()
    )


# The tracer (dynamo=False) knows no torch.cond.
DETERMINISTIC: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "perceptron": (perceptron, lambda: torch.randn(2, 8)),
    "transformer": (Transformer, lambda: torch.arange(12).reshape(2, 6)),
    "convolutional": (convolutional, lambda: torch.randn(2, 3, 8, 8)),
    "recurrent": (Recurrent, lambda: torch.randn(2, 5, 8)),
    "masked": (Masked, lambda: torch.randn(6, 6)),
    "branching": (Branching, lambda: torch.randn(2, 8)),
}


def export(model: nn.Module, example: Tensor, *, dynamo: bool) -> onnx.ModelProto:
    """Returns what ``torch.onnx.export`` makes of it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(model.eval(), (example,), buffer, dynamo=dynamo)
    return onnx.load_from_string(buffer.getvalue())


@pytest.mark.parametrize(
    ("name", "dynamo"),
    [(name, dynamo) for name in DETERMINISTIC for dynamo in (True, False) if dynamo or name != "branching"],
)
def test_deterministic_exports_are_clean(name: str, dynamo: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, example = DETERMINISTIC[name]
    file = save_proto(export(make(), example(), dynamo=dynamo), tmp_path)
    assert lint(file) == []
    assert serious(lint(optimised(file, "ORT_ENABLE_EXTENDED"))) == []


# Random models with nothing wrong


class OneVector(nn.Module):
    """All decisions from one draw that depends on the input."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        draws = torch.rand_like(x[0])
        for i, layer in enumerate(self.layers):
            x = torch.where(draws[i] < 0.8, layer(x), x)
        return x


class WithReplacement(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.multinomial(torch.softmax(x, -1), 2, replacement=True)


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)


@pytest.mark.parametrize("make", [OneVector, WithReplacement, Noisy])
def test_sound_random_models_are_clean(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    file = save_proto(export(make(), torch.randn(2, 8), dynamo=True), tmp_path)
    assert lint(file) == []
    draw(file, sessions=1)


# onnx's own tests

_FUNCTION = "the function body of AffineGrid chooses by an attribute, so its If has a constant condition"
_DRAWS = "draws at opset 22"
_TRAINS = "drops in training mode"
BACKEND: dict[str, tuple[set[str], str]] = {
    "test_affine_grid_2d_align_corners_expanded": ({"RR201"}, _FUNCTION),
    "test_affine_grid_2d_expanded": ({"RR201"}, _FUNCTION),
    "test_affine_grid_3d_align_corners_expanded": ({"RR201"}, _FUNCTION),
    "test_affine_grid_3d_expanded": ({"RR201"}, _FUNCTION),
    "test_bernoulli": ({"RR101", "RR106"}, _DRAWS),
    "test_bernoulli_double": ({"RR101", "RR106"}, _DRAWS),
    "test_bernoulli_double_expanded": ({"RR106"}, _DRAWS),
    "test_bernoulli_expanded": ({"RR106"}, _DRAWS),
    "test_bernoulli_seed": ({"RR101", "RR106", "RR107"}, _DRAWS),
    "test_bernoulli_seed_expanded": ({"RR106", "RR107"}, _DRAWS),
    "test_training_dropout": ({"RR102", "RR107"}, _TRAINS),
    "test_training_dropout_default": ({"RR102", "RR107"}, _TRAINS),
    "test_training_dropout_default_mask": ({"RR102", "RR107"}, _TRAINS),
    "test_training_dropout_mask": ({"RR102", "RR107"}, _TRAINS),
    "test_training_dropout_zero_ratio": ({"RR102", "RR107"}, _TRAINS),
    "test_training_dropout_zero_ratio_mask": ({"RR102", "RR107"}, _TRAINS),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_every_operator_of_onnx(tmp_path: Path) -> None:
    """One small model per operator and way to use it: 1884 in onnx 1.23."""
    file, found = tmp_path / "model.onnx", {}
    cases = collect_testcases(None)
    assert len(cases) > 1800
    for case in cases:
        file.write_bytes(case.model.SerializeToString())
        codes = {f.code for f in lint(file) if f.severity != "note"}
        if codes:
            found[case.name] = codes
    assert found == {name: codes for name, (codes, _) in BACKEND.items()}


def test_the_models_that_onnx_ships() -> None:
    folder = Path(onnx.backend.test.__file__).parent / "data"
    files = sorted(folder.rglob("*.onnx"))
    assert len(files) > 100
    assert [text for file in files for text in serious(lint(file))] == []


# Other people's

THIRD_PARTY: dict[str, dict[str, set[str]]] = {
    "magika": {"models/standard_v3_3/model.onnx": set()},
    "silero_vad": {
        "data/silero_vad.onnx": set(),  # an If on the sample rate, with weights in both branches
        "data/silero_vad_16k_op15.onnx": set(),
        "data/silero_vad_half.onnx": set(),
        "data/silero_vad_op18_ifless.onnx": set(),
    },
}


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package, models in THIRD_PARTY.items() for name in models]
)
def test_models_of_other_people(package: str, name: str) -> None:
    file = _package_folder(package) / name
    assert file.is_file()
    assert {f.code for f in lint(file) if f.severity != "note"} == THIRD_PARTY[package][name]


def _package_folder(package: str) -> Path:
    """Where an installed package lies; it is not imported."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None, f"{package} is missing: install rr-export[test]"
    return Path(spec.origin).parent
