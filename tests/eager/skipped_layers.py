"""Models whose layers return more than the hidden state, small."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import rr_export as rr
from tests.nets import WIDTH


class Recurrent(nn.Module):
    """Two recurrent layers; the second gets the state of the first."""

    def __init__(self, kind: Any, **options: Any) -> None:
        super().__init__()
        self.rnn0, self.rnn1 = (kind(WIDTH, WIDTH, batch_first=True, **options) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        x, state = self.rnn0(x)
        result: tuple[Tensor, Any] = self.rnn1(x, state)
        return result


class Cells(nn.Module):
    """Cells called twice, at first without a state."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = rr.LayerChoice(nn.LSTMCell(WIDTH, WIDTH), 0.5)
        self.gru = rr.LayerChoice(nn.GRUCell(WIDTH, WIDTH), 0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, c = self.lstm(x, self.lstm(x))
        return self.gru(h, self.gru(h)), c


class DownBlock(nn.Module):
    """As diffusers has it: returns the hidden state, and all hidden states in a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.time = nn.Linear(5, 4)

    def forward(self, hidden_states: Tensor, temb: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        output_states: tuple[Tensor, ...] = ()
        for resnet in self.resnets:
            hidden_states = resnet(hidden_states) + self.time(temb)[:, :, None, None]
            output_states = (*output_states, hidden_states)
        return hidden_states, output_states


class Unet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down_blocks = nn.ModuleList(DownBlock() for _ in range(2))

    def forward(self, sample: Tensor, temb: Tensor) -> tuple[Tensor, Tensor]:
        kept: tuple[Tensor, ...] = (sample,)
        for block in self.down_blocks:
            sample, more = block(hidden_states=sample, temb=temb)
            kept += more
        return sample, torch.stack(kept).sum(0)


class Attention(nn.Module):
    """Returns its weights too."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = self.attention(x, x, x)
        return result


class Attending(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(rr.LayerChoice(Attention(), 0.5, **options) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = []
        for layer in self.layers:
            x, weights = layer(x)
            found.append(weights)
        return x, torch.stack(found)


class JointBlock(nn.Module):
    """As Flux has it: two streams that may be of one shape, returned the other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden_states: Tensor, encoder_hidden_states: Tensor, temb: Tensor) -> tuple[Tensor, Tensor]:
        encoder_hidden_states = self.linear(encoder_hidden_states) + temb
        hidden_states = hidden_states + self.linear(hidden_states)
        return encoder_hidden_states, hidden_states


class Joint(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(JointBlock() for _ in range(2))

    def forward(self, x: Tensor, context: Tensor, temb: Tensor) -> tuple[Tensor, Tensor]:
        for block in self.blocks:
            context, x = block(hidden_states=x, encoder_hidden_states=context, temb=temb)
        return x, context
