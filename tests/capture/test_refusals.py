"""Whatever torch raises while a model is captured, the user reads our words, with the line; the original is chained."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import rr_export as rr
from rr_export.capture.refusals import in_our_words, model_runs
from rr_export.errors import CaptureError, RunError

pytestmark = pytest.mark.filterwarnings("ignore:export. expected a model with sites", "ignore::DeprecationWarning")


class Expert(nn.Module):
    """A gate, experts, and a forward that is told."""

    def __init__(self, forward: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(4, 3), nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.told = forward

    def forward(self, x: Tensor) -> Any:
        return self.told(self, x)


def best(model: Expert, x: Tensor) -> Tensor:
    k: Tensor = model.gate(x).mean(0).argmax()
    return k


def by_int(model: Expert, x: Tensor) -> Any:
    return model.experts[int(best(model, x))](x)


def by_item(model: Expert, x: Tensor) -> Any:
    return model.experts[best(model, x).item()](x)  # type: ignore[index]


def by_tensor(model: Expert, x: Tensor) -> Any:
    return model.experts[best(model, x)](x)  # type: ignore[index]


def without_onnx(model: Expert, x: Tensor) -> Any:
    return torch.special.airy_ai(x)


def decomposed(model: Expert, x: Tensor) -> Any:
    return torch.linalg.svd(x)[1]


def decomposed_to_a_part(model: Expert, x: Tensor) -> Any:
    return torch.cdist(x, x) + model.gate(x).sum()


def sparse(model: Expert, x: Tensor) -> Any:
    return x.to_sparse().to_dense() + 1


def of_another_set(model: Expert, x: Tensor) -> Any:
    return torch.lgamma(x)


def returns_nothing(model: Expert, x: Tensor) -> Any:
    return [None, (None, None)]


def to_numpy(model: Expert, x: Tensor) -> Any:
    return x.numpy()


def wrong_sizes(model: Expert, x: Tensor) -> Any:
    return x @ torch.ones(5, 5)


def wrong_sizes_in_a_branch(model: Expert, x: Tensor) -> Any:
    return x @ torch.ones(5, 5) if random.random() < 0.5 else x


def own_error(model: Expert, x: Tensor) -> Any:
    raise ValueError("\x1b[96mfour axes\x1b[0m are one too many")


def returns_an_object(model: Expert, x: Tensor) -> Any:
    return {"x": x, "object": object()}


def ties_axes(model: Expert, x: Tensor) -> Any:
    return x.reshape(4, 2)


REFUSED: list[tuple[Callable[..., Any], str]] = [
    (by_int, "depends on the input; "),
    (by_item, "depends on the input; .*for i, layer in enumerate"),
    (by_tensor, "got a number of the input.*; write .*for i, layer in enumerate"),
    (without_onnx, "expected operators that have a form in ONNX, got aten.special_airy_ai, which has none; write it"),
    (decomposed, "expected operators that have a form in ONNX, got aten._linalg_svd, which has none; write it"),
    (
        decomposed_to_a_part,
        "expected operators that have a form in ONNX, got aten._cdist_forward, which has none",
    ),
    (sparse, "expected operators that have a form in ONNX, got aten._to_sparse, which has none; write it"),
    (of_another_set, "expected operators that have a form in ONNX, got prims.lgamma, which has none; write it"),
    (returns_nothing, "expected tensors as outputs of the model, got none; return what"),
    (to_numpy, "got a RuntimeError from torch; write that part with functions of torch"),
    (wrong_sizes, r"a model that runs on these arguments, got a RuntimeError from torch where it is called as model"),
    (wrong_sizes_in_a_branch, "got a RuntimeError from torch where branch .* is taken; "),
    (own_error, "got a ValueError: four axes are one too many where it is called as"),
    (returns_an_object, "expected tensors as (inputs and )?outputs.*got .*object"),
]
OF_FORWARD = (without_onnx, decomposed, decomposed_to_a_part, sparse, of_another_set)
RAW = re.compile("\x1b|Guard|UserError|u0|Sym|torch/|rr_export/|TORCH_LOGS|github|mat1|Caused by|site-packages")


@pytest.mark.parametrize(("forward", "message"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_refused_in_our_words(forward: Callable[..., Any], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CaptureError, match=message) as caught:
        rr.export(Expert(forward).eval(), (torch.randn(2, 4),))
    text = str(caught.value)
    assert not RAW.search(text), text
    if forward in OF_FORWARD:  # torch keeps the line of forward
        assert re.match(r"test_refusals\.py:\d+: ", text), text
    elif forward not in (returns_an_object, returns_nothing):
        assert text.startswith(f"test_refusals.py:{forward.__code__.co_firstlineno + 1}: "), text
    assert not RAW.search("".join(capfd.readouterr()))


def test_an_axis_that_is_fixed() -> None:
    with pytest.raises(
        CaptureError, match="expected the axis 'batch' to stay dynamic, got code that fixes it to 2"
    ) as e:
        rr.export(Expert(ties_axes).eval(), (torch.randn(2, 4),), dynamic_shapes={"x": {0: "batch"}})
    assert not RAW.search(str(e.value))
    assert e.value.__cause__ is not None


def test_the_original_stays_chained_and_our_own_errors_stay_as_they_are() -> None:
    with pytest.raises(CaptureError) as caught, in_our_words():
        torch.ones(2) @ torch.ones(3)
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(CaptureError, match=r"^as it is$"), in_our_words():
        try:
            raise CaptureError("as it is")
        except CaptureError as error:
            raise RuntimeError("around it") from error


def same_type(model: Expert, x: Tensor) -> Any:
    model.gate = model.gate.to(x.dtype)
    return model.gate(x)


def other_type_back(model: Expert, x: Tensor) -> Any:
    first = model.gate.half().weight.float().sum()
    return model.gate.float()(x) + first


def test_bug_a_module_that_is_converted_to_what_it_is() -> None:
    model, x = Expert(same_type).eval(), torch.randn(2, 4)
    rr.verify(rr.export(model, (x,)), model, (x,))


def test_a_module_that_is_converted_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"test_refusals.py:\d+: expected modules that stay as they are .*float16"):
        rr.export(Expert(other_type_back).eval(), (torch.randn(2, 4),))


class Routed(nn.Module):
    """A drawn block."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.g = nn.Linear(4, 4), nn.Linear(4, 4)

    def block(self, x: Tensor) -> Tensor:
        return torch.tanh(self.f(x))

    def forward(self, x: Tensor) -> Any:
        if random.random() < 0.5:
            x = self.block(x)
        return self.g(x)


def test_compiled_parts_run_as_they_were_written() -> None:
    model, x = Routed().eval(), torch.randn(2, 4)
    model.f = torch.compile(model.f)  # type: ignore[assignment]
    model.block = torch.compile(model.block)  # type: ignore[method-assign]
    model.g.compile()
    model.compile()
    bundle = rr.export(model, (x,))
    assert [len(site.branches) for site in bundle.plan.sites] == [2]


def test_scripted_parts_are_refused() -> None:
    model = Routed().eval()
    model.f = torch.jit.script(model.f)
    with pytest.raises(CaptureError, match=r"^f: expected modules of Python, got one that .* give the"):
        rr.export(model, (torch.randn(2, 4),))


@pytest.mark.zoo
def test_caches_and_kernels_of_experts_say_what_to_pass() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

    sizes: dict[str, Any] = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 2}
    ids = torch.randint(0, 20, (2, 6))
    with pytest.raises(CaptureError, match="use_cache=False"):
        rr.export(LlamaForCausalLM(LlamaConfig(**sizes)).eval(), (ids,))
    experts = MixtralForCausalLM(MixtralConfig(**sizes, num_local_experts=2, use_cache=False)).eval()
    with pytest.raises(CaptureError, match='experts_implementation="batched_mm"'):
        rr.export(experts, (ids,))


def test_what_a_model_raises_after_its_capture_is_an_error_of_ours() -> None:
    text = r"^test_refusals.py:\d+: expected a model that runs by itself.*from torch"
    with pytest.raises(CaptureError, match=text), model_runs():
        wrong_sizes(torch.ones(2))
    with pytest.raises(RunError, match=r"^ours$"), model_runs():
        raise RunError("ours")


def wrong_sizes(x: Tensor) -> Tensor:
    return x @ torch.ones(3)


class Unnamed:
    def __init__(self, part: torch.Tensor) -> None:
        self.part = part


class GivesUnnamed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = rr.LayerChoice(nn.Linear(4, 4), keep=0.5)

    def forward(self, x: torch.Tensor) -> Unnamed:
        return Unnamed(self.layer(x))


def test_bug_outputs_without_names_of_their_parts_raised_what_torch_says() -> None:
    pytree.register_pytree_node(Unnamed, lambda o: ([o.part], None), lambda parts, _: Unnamed(*parts))
    with pytest.raises(
        CaptureError, match=r"^capture: .* got Unnamed, in which torch cannot name some; .*return_dict="
    ):
        rr.export(GivesUnnamed().eval(), (torch.ones(2, 4),))
