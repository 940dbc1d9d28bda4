"""A small transformer from one row of tokens to another, whose encoder and decoder layers can be routed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from examples.tasks.subwords import PADDING

WIDTH, HEADS = 64, 4
FAR = -1e4  # the score of what may not be seen


class Attention(nn.Module):
    """Attention with several heads (Vaswani et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, hidden: Tensor, seen: Tensor, hide: Tensor) -> Tensor:
        """Returns float32 [N, T, C].

        Args:
            hidden: float32 [N, T, C], what asks.
            seen: float32 [N, S, C], what is asked.
            hide: float32, added to scores [N, heads, T, S].
        """
        q, k, v = (_heads(part) for part in (self.query(hidden), self.key(seen), self.value(seen)))
        weights = torch.softmax(q @ k.transpose(2, 3) * (WIDTH // HEADS) ** -0.5 + hide, -1)
        result: Tensor = self.out((weights @ v).transpose(1, 2).flatten(2))
        return result


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(2, (HEADS, WIDTH // HEADS)).transpose(1, 2)


def _wide() -> nn.Module:
    return nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))


class EncoderLayer(nn.Module):
    """Self-attention and two linear layers, each behind a layer norm and added to what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.attention, self.wide = nn.LayerNorm(WIDTH), Attention(), _wide()

    def forward(self, hidden: Tensor, hide: Tensor) -> Tensor:
        """Returns float32 [N, S, C]; ``hide`` as for :class:`Attention`."""
        normal = self.before(hidden)
        hidden = hidden + self.attention(normal, normal, hide)
        result: Tensor = hidden + self.wide(hidden)
        return result


class DecoderLayer(nn.Module):
    """Self-attention, attention to the source and two linear layers, each added to what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.attention, self.wide = nn.LayerNorm(WIDTH), Attention(), _wide()
        self.between, self.across = nn.LayerNorm(WIDTH), Attention()

    def forward(self, hidden: Tensor, memory: Tensor, hide: Tensor, hide_memory: Tensor) -> Tensor:
        """Returns float32 [N, T, C]; ``memory``, float32 [N, S, C], is what the encoder made."""
        normal = self.before(hidden)
        hidden = hidden + self.attention(normal, normal, hide)
        hidden = hidden + self.across(self.between(hidden), memory, hide_memory)
        result: Tensor = hidden + self.wide(hidden)
        return result


def waves(places: int) -> Tensor:
    """Returns what tells places apart, float32 [places, C]: sines and cosines of it (Vaswani et al. 2017).

    They begin alike for source and target, which makes it easy to learn where to go on reading.
    """
    angles = torch.arange(places)[:, None] * 1e4 ** (-torch.arange(0, WIDTH, 2) / WIDTH)
    return torch.cat([angles.sin(), angles.cos()], 1)


class Translator(nn.Module):
    """Two rows of tokens to how likely every token is to be the next of the second row.

    A token is taken from the vocabulary, or copied from the source (See, Liu, Manning 2017: pointer-generator).

    Args:
        vocabulary: how many tokens there are.
        longest: tokens of a source, and of a target.
        encoder: layers of the encoder.
        decoder: layers of the decoder.
    """

    def __init__(self, vocabulary: int, longest: tuple[int, int], *, encoder: int, decoder: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, WIDTH, padding_idx=PADDING)
        nn.init.normal_(self.tokens.weight, std=WIDTH**-0.5)
        self.source_places, self.target_places = nn.Parameter(waves(longest[0])), nn.Parameter(waves(longest[1]))
        self.encoder = nn.ModuleList(EncoderLayer() for _ in range(encoder))
        self.decoder = nn.ModuleList(DecoderLayer() for _ in range(decoder))
        self.after_encoder, self.after_decoder = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.pointer, self.places = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.copies = nn.Linear(WIDTH, 1)

    def forward(self, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Returns log-probabilities, float32 [N, T, V]; those after the padding of a target are 0.

        Args:
            source: int64 [N, S].
            target: int64 [N, T], what is there so far.
        """
        hide_source = (source == PADDING).float()[:, None, None] * FAR
        places = torch.arange(target.shape[1], device=target.device)
        hide_later = (places[None, :] > places[:, None]).float() * FAR
        memory = self.tokens(source) * WIDTH**0.5 + self.source_places[: source.shape[1]]
        for layer in self.encoder:
            memory = layer(memory, hide_source)
        memory = self.after_encoder(memory)
        hidden = self.tokens(target) * WIDTH**0.5 + self.target_places[: target.shape[1]]
        for layer in self.decoder:
            hidden = layer(hidden, memory, hide_later, hide_source)
        hidden = self.after_decoder(hidden)
        chosen = torch.softmax(hidden @ self.tokens.weight.T, -1)
        pointed = torch.softmax(
            self.pointer(hidden) @ self.places(memory).transpose(1, 2) * WIDTH**-0.5 + hide_source[:, 0], -1
        )
        copies = self.copies(hidden)
        gate = torch.softmax(torch.cat([copies, torch.zeros_like(copies)], -1), -1)  # a sigmoid near 0 has few digits
        share, new = gate[..., :1], gate[..., 1:]
        where = source[:, None].expand(-1, target.shape[1], -1)
        both = (new * chosen).scatter_add(2, where, share * pointed)
        return {"logits": torch.log(both + 1e-6) * (target != PADDING)[:, :, None]}
