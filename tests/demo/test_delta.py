"""Merging a delta, and its file, on a small model."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("safetensors", reason="the demo needs the extra demo")

from rr_export.demo.delta import DELTA, MAKER, DemoError, apply_delta, delta_bytes, read_delta


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))


def changes() -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(1)
    shapes = {"0.a": (2, 3), "0.b": (4, 2), "0.bias": (4,), "1.weight": (4,)}
    return {name: torch.randn(*shape, generator=draws).half() for name, shape in shapes.items()}


def test_products_are_added_and_the_rest_replaced() -> None:
    model, before, delta = small(), small().state_dict(), changes()
    apply_delta(model, delta)
    arrays = {name: tensor.numpy().astype(np.float32) for name, tensor in delta.items()}
    expected = before["0.weight"].numpy() + arrays["0.b"] @ arrays["0.a"]
    np.testing.assert_allclose(model[0].weight.detach().numpy(), expected, atol=1e-6)
    assert torch.equal(model[0].bias, delta["0.bias"].float())
    assert torch.equal(model[1].weight, delta["1.weight"].float())
    assert torch.equal(model[1].bias, before["1.bias"])


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("0.a", None),
        ("0.b", None),
        ("0.a", torch.zeros(3, 3)),
        ("0.b", torch.zeros(5, 2)),
        ("0.b", torch.zeros(4)),
        ("0.bias", torch.zeros(1)),
        ("2.bias", torch.zeros(4)),
        ("1.a", torch.zeros(2, 4)),
    ],
)
def test_a_delta_that_does_not_fit_is_refused_and_changes_nothing(name: str, tensor: Tensor | None) -> None:
    delta = changes()
    if tensor is None:
        del delta[name]
    else:
        delta[name] = tensor
    model = small()
    with pytest.raises(
        DemoError, match=r"delta: expected changes of the encoder's parameters, got .* fits none; make it"
    ):
        apply_delta(model, delta)
    assert all(
        torch.equal(value, before) for value, before in zip(model.parameters(), small().parameters(), strict=True)
    )


def test_a_file_holds_what_was_written(tmp_path) -> None:
    file = tmp_path / "delta.safetensors"
    file.write_bytes(delta_bytes(changes(), {"steps": 3}))
    assert delta_bytes(dict(reversed(changes().items())), {"steps": 3}) == file.read_bytes()
    read = read_delta(file)
    assert read.keys() == changes().keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in changes().items())


def test_the_committed_file_is_small_and_says_how_it_was_made() -> None:
    content = DELTA.read_bytes()
    assert len(content) < 2_000_000
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    made = json.loads(header["__metadata__"][MAKER])
    assert (made["steps"], made["static"]) == (600, None)
    assert {re.sub(r"\.layer\.\d\.", ".layer.N.", name).rpartition(".")[2] for name in header if name[0] != "_"} == {
        *("a", "b", "bias", "weight"),
    }
