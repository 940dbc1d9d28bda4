"""Bad models get an error that names the place: one test per way a model can be wrong."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError, LoweringError, RunError
from rr_runtime import Session
from tests.nets import WIDTH, Mlp, Pair, example, layers, pair


class Lambda(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def export(model: nn.Module, **options: Any) -> rr.Bundle:
    return rr.export(model, (example(),), **options)


def test_in_place_change_of_the_input() -> None:
    model = pair(nn.Identity(), Lambda(lambda x: x.add_(1)))
    with pytest.raises(CaptureError, match=r"site 'site', branch '1'.*input.*in place"):
        export(model)


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        self.count.add_(1)
        return x + self.count


def test_in_place_change_of_a_buffer() -> None:
    with pytest.raises(CaptureError, match=r"site 'site', branch '0'.*buffer 'site.branches.0.count' in place"):
        export(pair(Counter(), nn.Identity()))


def test_in_place_change_after_a_site_that_hands_on_its_input() -> None:
    class After(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = rr.OperationChoice([nn.Identity(), Mlp()], rr.Uniform(2))

        def forward(self, x: Tensor) -> Tensor:
            h = x * 2
            y = self.site(h)
            y.add_(1)
            return y + h

    with pytest.raises(CaptureError, match=r"site 'site'.*in-place change after the site"):
        export(After().eval())


def test_training_mode() -> None:
    model = pair(Mlp(), nn.Identity())
    model.after.train()
    with pytest.raises(CaptureError, match=r"evaluation mode, got training mode in 'after'"):
        export(model)


def test_training_flag_of_a_site_alone_is_fine() -> None:
    model = pair(Mlp(), nn.Identity())
    model.site.training = True
    assert len(export(model).plan.sites) == 1


class Cache(nn.Module):
    """Keeps a value that something outside the branch reads."""

    def __init__(self, cache: list[Tensor]) -> None:
        super().__init__()
        self.layer, self.cache = nn.Linear(WIDTH, WIDTH), cache

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        self.cache.append(y)
        return y.relu()


class CacheReader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cache: list[Tensor] = []
        self.site = rr.OperationChoice({"keeps": Cache(self.cache), "same": nn.Identity()}, rr.Uniform(2))

    def forward(self, x: Tensor) -> Tensor:
        self.cache.clear()
        y: Tensor = self.site(x)
        return y + self.cache[0]


def test_value_that_leaves_through_a_list() -> None:
    with pytest.raises(LoweringError, match=r"site 'site', branch 'keeps'.*only as its result"):
        export(CacheReader().eval())


def test_value_that_leaves_through_a_hook() -> None:
    class Hooked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Mlp()
            self.site = rr.LayerChoice(self.layer, 0.5)
            self.seen: list[Tensor] = []
            self.layer.up.register_forward_hook(lambda module, args, output: self.seen.append(output))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            self.seen.clear()
            return self.site(x), self.seen[0]

    with pytest.raises(LoweringError, match=r"site 'site', branch 'run'.*only as its result"):
        export(Hooked().eval())


def test_value_that_leaves_into_another_branch() -> None:
    class Reader(nn.Module):
        def __init__(self, cache: list[Tensor]) -> None:
            super().__init__()
            self.cache = cache

        def forward(self, x: Tensor) -> Tensor:
            return x + self.cache[-1]

    cache: list[Tensor] = []
    with pytest.raises(LoweringError, match=r"only as its result"):
        export(pair(Reader(cache), Cache(cache)))


def test_axis_that_a_branch_makes_static() -> None:
    model = pair(nn.Identity(), Lambda(lambda x: x.reshape(3, WIDTH) * 2))
    with pytest.raises(CaptureError, match=r"site 'site', branch '1'.*axis 0"):
        export(model, dynamic_shapes={"x": {0: "batch"}})


def test_axis_that_the_model_makes_static() -> None:
    class Fixed(Pair):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.reshape(3, WIDTH))

    model = Fixed(rr.LayerChoice(Mlp(), 0.5)).eval()
    with pytest.raises(CaptureError, match=r"the axis .batch. to stay dynamic, got code that fixes it to 3"):
        export(model, dynamic_shapes={"x": {0: "batch"}})


def test_axis_that_a_branch_bounds_is_bounded_in_the_runtime(tmp_path: Path) -> None:
    """A branch that takes one side of a comparison of sizes is right for these sizes alone."""
    model = pair(nn.Identity(), Lambda(lambda x: x * 2 if x.shape[0] > 2 else x * 100))
    bundle = export(model, dynamic_shapes={"x": {0: "batch"}})
    assert bundle.manifest["axes"] == {"batch": [3, None]}
    session = Session(bundle.save(tmp_path / "out"))
    session.run({"x": torch.ones(3, WIDTH).numpy()})
    with pytest.raises(ValueError, match=r"inputs: expected batch of at least 3, got 2"):
        session.run({"x": torch.ones(2, WIDTH).numpy()})
    assert rr.verify(bundle, model, (example(),)).passed


def test_axis_that_must_be_even() -> None:
    model = pair(nn.Identity(), Lambda(lambda x: x * 2 if x.shape[0] % 2 else x * 100))
    with pytest.raises(CaptureError, match=r"to stay dynamic, got code that"):
        export(model, dynamic_shapes={"x": {0: "batch"}})


@pytest.mark.parametrize(
    "hands_on",
    [
        lambda x: x.view(WIDTH, 3),
        lambda x: x.t(),
        lambda x: x.detach().view(WIDTH, 3),
    ],
)
def test_in_place_change_after_a_site_that_hands_on_a_view(hands_on: Any) -> None:
    class After(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = rr.OperationChoice([Lambda(hands_on), Lambda(lambda x: x.t() * 2)], rr.Uniform(2))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = x * 2
            y = self.site(h)
            y.add_(1)
            return y, h

    with pytest.raises(CaptureError, match=r"site 'site'.*in-place change after the site"):
        export(After().eval())


def test_operator_that_onnx_does_not_have() -> None:
    with pytest.raises(CaptureError, match=r"operators that have a form in ONNX"):
        export(pair(nn.Identity(), Lambda(lambda x: torch.linalg.qr(x.T @ x)[0][:3])))


def test_bfloat16_output() -> None:
    class Brain(Pair):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).bfloat16()

    with pytest.raises(CaptureError, match=r"got bfloat16 for 'output'; cast it inside the model"):
        export(Brain(rr.LayerChoice(Mlp(), 0.5)).eval())


def test_names_that_collide() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = rr.LayerChoice(Mlp(), 0.5)

        def forward(self, output: Tensor) -> Tensor:
            result: Tensor = self.site(output)
            return result

    model = Named().eval()
    bundle = export(model)
    assert [row["name"] for row in bundle.manifest["outputs"]] == ["output_"]
    assert rr.verify(bundle, model, (example(),)).passed


def test_output_that_is_no_tensor() -> None:
    class Number(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = rr.LayerChoice(Mlp(), 0.5)

        def forward(self, x: Tensor) -> tuple[Tensor, float]:
            return self.site(x), 1.5

    with pytest.raises(CaptureError, match=r"expected tensors as outputs of the model, got float 1.5"):
        export(Number().eval())


class Traceable(nn.Module):
    """torch.export wants a module without hooks on it here, so the routed model lies inside."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = layers(2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(x)
        return result


@pytest.mark.parametrize(
    "trace",
    [
        pytest.param(lambda m, x: torch.export.export(m, (x,), strict=False), id="torch.export"),
        pytest.param(lambda m, x: torch.export.export(m, (x,), strict=True), id="torch.export-strict"),
        pytest.param(lambda m, x: torch.jit.trace(m, (x,)), id="jit.trace"),
        pytest.param(lambda m, x: torch.onnx.export(m, (x,), dynamo=True, verbose=False), id="torch.onnx.export"),
        pytest.param(lambda m, x: torch.fx.symbolic_trace(m), id="fx.symbolic_trace"),
    ],
)
@pytest.mark.parametrize("planned", [False, True])
def test_another_tracer(trace: Any, planned: bool) -> None:
    model = Traceable().eval()
    if planned:
        rr.plan_of(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # torch wraps what a tracer meets in errors of its own
        with pytest.raises(Exception, match=r"expected an eager call or rr.export|rr_export|route"):
            trace(model, example())


def test_another_tracer_may_bake_a_forced_path_in() -> None:
    model = Traceable().eval()
    with rr.forced(model, [1, 0]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(model, (example(),), strict=False)
        expected = model(example())
    torch.testing.assert_close(program.module()(example()), expected)


def test_branches_of_other_structure() -> None:
    model = pair(nn.Identity(), Lambda(lambda x: (x, x)))
    with pytest.raises(CaptureError, match=r"site 'site', branches '0' and '1'.*one structure.*tuple of 2"):
        export(model)


def test_branches_of_other_dtype() -> None:
    model = pair(nn.Identity(), Lambda(lambda x: x.double()))
    with pytest.raises(CaptureError, match=r"site 'site', branches '0' and '1'.*one dtype.*float32 and torch.float64"):
        export(model)


def test_branches_of_other_shape() -> None:
    model = pair(nn.Identity(), Lambda(lambda x: x[:, :4]))
    with pytest.raises(CaptureError, match=r"nets.py:\d+: expected what follows to take every shape .* \[3, 4\]"):
        export(model)


def test_branches_of_other_shape_at_other_sizes() -> None:
    model = pair(nn.Identity(), Lambda(lambda x: torch.zeros(3, WIDTH)))
    with pytest.raises(CaptureError, match=r"site 'site'.*branch"):
        export(model, dynamic_shapes={"x": {0: "batch"}})


def test_site_that_is_not_registered() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = [rr.LayerChoice(Mlp(), 0.5).eval()]

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.hidden[0](x)
            return result

    with pytest.raises(CaptureError, match=r"not registered"):
        export(Hidden().eval())


def test_model_elsewhere() -> None:
    with pytest.raises(CaptureError, match=r"on meta; export model.cpu\(\)"):
        export(layers(1).to("meta"))


def test_name_of_the_contract_is_taken() -> None:
    class Taken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = rr.LayerChoice(Mlp(), 0.5)

        def forward(self, rr_seed: Tensor) -> Tensor:
            result: Tensor = self.site(rr_seed)
            return result

    with pytest.raises(LoweringError, match=r"called 'rr_seed'; rename it"):
        export(Taken().eval())


@pytest.mark.parametrize(
    "noise",
    [
        lambda x: x + torch.rand(3, WIDTH),
        lambda x: x + torch.randn_like(x),
        lambda x: torch.bernoulli(torch.full_like(x, 0.5)),
        lambda x: torch.nn.functional.dropout(x, 0.5, training=True),
    ],
)
def test_randomness_beside_the_sites(noise: Any) -> None:
    with pytest.raises(
        CaptureError, match=r"test_bad_input\.py:\d+: expected a draw that chooses|expected tensors, .* that are drawn"
    ):
        export(pair(nn.Identity(), Lambda(noise)))


def test_dropout_in_evaluation_is_fine() -> None:
    assert len(export(pair(nn.Identity(), nn.Sequential(Mlp(), nn.Dropout(0.5)))).plan.sites) == 1


def test_model_without_sites_exports_with_a_warning() -> None:
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()).eval()
    with pytest.warns(UserWarning, match=r"expected a model with sites, got Sequential without any"):
        bundle = export(model)
    assert [v.name for v in bundle.model.graph.inputs] == ["input"]
    assert [v.name for v in bundle.model.graph.outputs] == ["output"]
    assert bundle.manifest["interface"] == "plain"


def test_skipped_layer_with_two_results() -> None:
    site = rr.LayerChoice(Lambda(lambda x: (x, x.mean(1))), 0.0).eval()
    with pytest.raises(RunError, match=r"a tensor float32 \[3\] as result 1 and no arg.*skip=\('x', 'zeros'\)"):
        site(example())


def test_skip_without_a_positional_argument() -> None:
    site = rr.LayerChoice(Mlp(), 0.0).eval()
    with pytest.raises(RunError, match=r"got keywords \['x'\]; name one of them with hidden="):
        site(x=example())


def test_no_failed_export_leaves_anything_behind() -> None:
    """After a capture that raised, the model runs and exports as before."""
    model = pair(nn.Identity(), Lambda(lambda x: x.double()))
    with pytest.raises(CaptureError):
        export(model)
    with rr.forced(model, [0]) as record:
        model(example())
    assert record.path.tolist() == [0]
    model.site.branches[1] = Mlp()
    onnx.checker.check_model(__import__("onnx_ir").to_proto(export(model.eval()).model))
