"""Attention of any number of axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rr_export as rr
from rr_runtime import Session


class Attends(nn.Module):
    """Attention on 2 to 5 axes, with masks of every form that broadcasts."""

    def forward(self, x: Tensor, mask: Tensor) -> Any:
        attend: Any = F.scaled_dot_product_attention
        five = x.reshape(x.shape[0], 2, 2, 3, 8)
        return {
            "two": attend(x[0], x[0], x[0]),
            "three": attend(x, x.flip(1), x),
            "causal": attend(x, x, value=x, is_causal=True, scale=0.3),
            "boolean": attend(x, x, x, mask > 0),
            "added": attend(x, x, x, attn_mask=mask.expand(x.shape[0], -1, -1)),
            "learned": attend(x[:1, :4], x, x),
            "five": attend(five, five * 2, five),
            "masked": attend(five, five, five, mask[:3, :3]),
            "each": attend(five, five, five, mask[:3, :3].expand(2, 2, 3, 3)),
            "one": attend(five, five, five, mask[:3, :3].expand(x.shape[0], 1, 2, 3, 3)),
            "grouped": attend(torch.cat([five, five], -3), five, five, enable_gqa=True),
        }


@pytest.mark.filterwarnings("ignore:export. expected a model with sites")
def test_attention_of_other_than_four_axes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Attends().eval()
    bundle = rr.export(model, (torch.randn(2, 12, 8), torch.randn(12, 12)), dynamic_shapes={"x": {0: "batch"}})
    bundle.save(tmp_path / "attends")
    session = Session(tmp_path / "attends")
    for batch in (2, 5, 3):
        x, mask = torch.randn(batch, 12, 8), torch.randn(12, 12)
        got = session.run({"x": x.numpy(), "mask": mask.numpy()}).outputs
        for name, expected in model(x, mask).items():
            np.testing.assert_allclose(got[name], expected.numpy(), rtol=1e-5, atol=2e-6, err_msg=name)
