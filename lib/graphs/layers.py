"""Which layers does an exported network have that the trained one has not? Several products of the same input as one,
and a step of attention that remembers.
"""

from __future__ import annotations

import torch
from torch import nn


def joined(*layers: nn.Linear) -> nn.Linear:
    """Linear layers of the same input as one: a product instead of several."""
    one = nn.Linear(layers[0].in_features, sum(layer.out_features for layer in layers))
    none = [torch.zeros(layer.out_features) for layer in layers]
    biases = [other if layer.bias is None else layer.bias.detach() for layer, other in zip(layers, none)]
    one.weight = nn.Parameter(torch.cat([layer.weight.detach() for layer in layers]))
    one.bias = nn.Parameter(torch.cat(biases))
    return one


def scaled(layer: nn.Linear, scale: float) -> nn.Linear:
    """A linear layer whose outputs are multiplied."""
    other = nn.Linear(layer.in_features, layer.out_features)
    other.weight = nn.Parameter(layer.weight.detach() * scale)
    other.bias = nn.Parameter(layer.bias.detach() * scale)
    return other


class SelfAttention(nn.Module):
    """One step of self-attention: what `q_proj`, `k_proj`, `v_proj` of a layer make of it, the scale of the scores in
    the weights of the queries.
    """

    def __init__(self, attention: nn.Module, heads: int):
        super().__init__()
        self.heads, width = heads, attention.q_proj.out_features // heads
        self.project = joined(scaled(attention.q_proj, width**-0.5), attention.k_proj, attention.v_proj)
        self.out = attention.out_proj

    def forward(
        self, hidden: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, kept: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """hidden (1, H), keys (N, W, S), values (N, S, W) and kept (S,) of the steps before -> what is heard (1, H),
        and the step's own key and value (N, W).
        """
        query, key, value = self.project(hidden).view(3, self.heads, -1).unbind(0)  # (N, W) each
        query, key = query[:, None], key[..., None]  # (N, 1, W), (N, W, 1)
        shares = torch.softmax(torch.cat([query @ keys + kept, query @ key], -1), -1)  # (N, 1, S + 1)
        heard = shares[..., :-1] @ values + shares[..., -1:] * value[:, None]  # (N, 1, W)
        return self.out(heard.reshape(1, -1)), key[..., 0], value


class TextAttention(nn.Module):
    """One step of attention to what was encoded, whose keys and values were computed before."""

    def __init__(self, attention: nn.Module, heads: int):
        super().__init__()
        self.heads, width = heads, attention.q_proj.out_features // heads
        self.query, self.out = scaled(attention.q_proj, width**-0.5), attention.out_proj

    def forward(
        self,
        hidden: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        nearness: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """hidden (1, H), keys (N, W, n), values (N, n, W); nearness (n,): added to the scores -> what is read (1, H),
        and the shares (N, 1, n).
        """
        scores = self.query(hidden).view(self.heads, 1, -1) @ keys
        shares = torch.softmax(scores if nearness is None else scores + nearness, -1)
        return self.out((shares @ values).reshape(1, -1)), shares


class Remembered(nn.Module):
    """The keys and values of what was encoded, for one layer's `TextAttention`."""

    def __init__(self, attention: nn.Module, heads: int):
        super().__init__()
        self.heads, self.width = heads, attention.k_proj.out_features // heads
        self.project = joined(attention.k_proj, attention.v_proj)

    def forward(self, encoded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(T, H) -> (N, W, T), (N, T, W)."""
        keys, values = self.project(encoded).view(-1, 2, self.heads, self.width).unbind(1)  # (T, N, W)
        return keys.permute(1, 2, 0), values.transpose(0, 1)
