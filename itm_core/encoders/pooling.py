"""The pooled vector of an image or a caption, from its regions or words.

A pooling in `POOLINGS` takes `Fragments` and returns ``[N, D]`` at unit length.

Page: "Every method".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from itm_core.encoders.fragments import Fragments, l2norm, linear
from itm_core.encoders.gru import hidden_states
from itm_core.errors import InputError
from itm_core.settings import registered

Pooling = Callable[[Fragments], Tensor]


def make_pooling(kind: str, width: int, count: int | None = None) -> Pooling | None:
    """Return the pooling ``kind`` of fragments of ``width``; raises `InputError` for another name.

    ``count`` is the number of regions of every image, or None for words.
    """
    return registered("pooling", kind, POOLINGS)(width, count)


def to_fragments(
    vectors: Tensor, lens: Tensor | None, normalised: bool, pooling: Pooling | None
) -> Fragments:
    """Return encoded vectors as fragments, optionally at unit length, with their pooled vector."""
    fragments = Fragments.of(l2norm(vectors) if normalised else vectors, lens)
    return fragments if pooling is None else replace(fragments, pooled=pooling(fragments))


def mean(fragments: Fragments) -> Tensor:
    """Return the mean of the real fragments, ``[N, D]``."""
    if not fragments.ragged:
        return fragments.vectors.mean(1)
    mask = fragments.mask[..., None]
    return (fragments.vectors * mask).sum(1) / mask.sum(1)


def _unit_max(fragments: Fragments) -> Tensor:
    return l2norm(_padded_with(-torch.inf, fragments.vectors, fragments).amax(1))


def _padded_with(value: float, x: Tensor, fragments: Fragments) -> Tensor:
    """Return ``x [N, K, D]`` with a value in place of the padding of fragments."""
    return x.masked_fill(~fragments.mask[..., None], value) if fragments.ragged else x


def last(vectors: Tensor, lens: Tensor) -> Tensor:
    """Return the last real vector of each row, ``[N, D]``: the final state of a forward GRU."""
    rows = torch.arange(len(vectors), device=vectors.device)
    return vectors[rows, (lens - 1).to(vectors.device)]


class Gpo(nn.Module):
    """Generalised pooling operator (VSE-infinity, CVPR 2021, equations 3-6).

    ``theta = softmax(w . BiGRU(p) / 0.1)`` from sinusoidal codes p of the ranks; each channel of
    the result is ``sum_k theta_k (k-th largest value)``.
    """

    TEMPERATURE = 0.1

    def __init__(self, codes: int = 32, hidden: int = 32) -> None:
        super().__init__()
        self.width = codes
        self.gru = nn.GRU(codes, hidden, 1, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(hidden, 1, bias=False)

    def codes(self, count: int) -> Tensor:
        """Return the codes of ranks 0..count-1, ``[count, codes]``: sines even, cosines odd."""
        rank = torch.arange(count, dtype=torch.float32)[:, None]
        slow = torch.exp(torch.arange(0, self.width, 2) * (-math.log(10000.0) / self.width))
        angle = rank * slow
        return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)

    def weights(self, lens: Tensor, count: int, like: Tensor) -> Tensor:
        """Return the weight of every rank, ``[N, count]``; zero beyond each length."""
        codes = self.codes(count).to(like)[None].expand(len(lens), -1, -1)
        relevance = self.linear(hidden_states(self.gru, codes, lens, count).mean(0)).squeeze(-1)
        real = torch.arange(count, device=like.device) < lens.to(like.device)[:, None]
        return (relevance / self.TEMPERATURE).masked_fill(~real, -torch.inf).softmax(-1)

    def forward(self, fragments: Fragments) -> Tensor:
        """Return the pooled vectors ``[N, D]``, not normalised."""
        x = fragments.vectors
        weights = self.weights(fragments.lens, x.shape[1], x)
        last_padded = _padded_with(-torch.inf, x, fragments)  # padding is sorted to the end
        ordered = last_padded.sort(1, descending=True).values
        return (weights[..., None] * _padded_with(0, ordered, fragments)).sum(1)


class _UnitGpo(Gpo):
    def forward(self, fragments: Fragments) -> Tensor:
        """Return the pooled vectors at unit length."""
        return l2norm(super().forward(fragments))


class GruPooling(nn.Module):
    """VSRN's global reasoning: the final state of a GRU, optionally batch-normed."""

    def __init__(self, width: int, *, normed: bool) -> None:
        super().__init__()
        self.rnn = nn.GRU(width, width, 1, batch_first=True)
        self.bn = nn.BatchNorm1d(width) if normed else nn.Identity()

    def forward(self, fragments: Fragments) -> Tensor:
        """Return ``[N, D]``."""
        states, _ = self.rnn(fragments.vectors)
        return l2norm(self.bn(last(states, fragments.lens)))


class RegionNorm(nn.BatchNorm1d):
    """Batch norm of regions ``[N, R, D]`` with a channel for each of ``count`` region indices.

    Where images have fewer regions, the statistics of an index are over the images that have it,
    and those of an index that none has stay as they are.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the regions normalised, ``mask [N, R]`` being the real ones.

        Raises `InputError` for more than ``count`` regions.
        """
        count = x.shape[1]
        if count > self.num_features:
            raise InputError(
                "SGRAF's image pooling has batch statistics for each region index",
                expected=f"{self.num_features} regions at most",
                found=count,
                remedy="keep as many (itm data convert --regions), or encoder.image_pooling=mean",
            )
        if mask is None and count == self.num_features:
            return super().forward(x)
        mean, var = self.running_mean[:count], self.running_var[:count]  # type: ignore[index]
        if self.training:
            mean, var = self._statistics(x, mask)
        scale = self.weight[:count] * (var + self.eps).rsqrt()
        return (x - mean[:, None]) * scale[:, None] + self.bias[:count, None]

    def _statistics(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and variance ``[R]`` of the real values, which update the running ones."""
        real = (torch.ones_like(x) if mask is None else mask[..., None].expand_as(x)).to(x)
        n = real.sum((0, 2))
        mean = (x * real).sum((0, 2)) / n.clamp_min(1)
        squares = ((x - mean[:, None]).square() * real).sum((0, 2))
        with torch.no_grad():
            moved = self.momentum * (n > 0).to(x)  # type: ignore[operator]
            for running, now in (
                (self.running_mean, mean),
                (self.running_var, squares / (n - 1).clamp_min(1)),
            ):
                running[: len(n)].lerp_(now, moved)  # type: ignore[index]
        return mean, squares / n.clamp_min(1)


class SelfAttention(nn.Module):
    """SGRAF's global vector (AAAI 2021, section 3.1): self-attention with the mean as query.

    The weights are ``softmax(w . (tanh(W_1 x_k) * tanh(W_2 mean)))``. Regions have a batch norm
    after each map: after W_1 one channel for each of the ``count`` regions (`RegionNorm`), so there
    are no more; after W_2 one for each of the D channels. Dropout of 0.4 follows each tanh.
    """

    def __init__(self, width: int, count: int | None) -> None:
        super().__init__()
        self.local, self.pooled = linear(width, width), linear(width, width)
        self.local_norm = nn.Identity() if count is None else RegionNorm(count)
        self.pooled_norm = nn.Identity() if count is None else nn.BatchNorm1d(width)
        self.weigh = linear(width, 1)
        self.dropout = nn.Dropout(0.4)
        self.count = count

    def forward(self, fragments: Fragments) -> Tensor:
        """Return ``[N, D]``; raises `InputError` when there are more than ``count`` regions."""
        x, local = fragments.vectors, self.local(fragments.vectors)
        if isinstance(self.local_norm, RegionNorm):
            local = self.local_norm(local, fragments.mask if fragments.ragged else None)
        local = self.dropout(local.tanh())
        pooled = self.dropout(self.pooled_norm(self.pooled(mean(fragments))).tanh())
        relevance = self.weigh(local * pooled[:, None]).squeeze(-1)
        if fragments.ragged:
            relevance = relevance.masked_fill(~fragments.mask, -torch.inf)
        return l2norm((relevance.softmax(-1)[..., None] * x).sum(1))


POOLINGS: dict[str, Callable[[int, int | None], Pooling | None]] = {
    "none": lambda width, count: None,
    # VSE++ pools regions before it projects them
    "mean": lambda width, count: lambda x: l2norm(mean(x)),
    "max": lambda width, count: _unit_max,
    # a GRU's final state (VSE++, VSRN)
    "last": lambda width, count: lambda x: l2norm(last(x.vectors, x.lens)),
    "gpo": lambda width, count: _UnitGpo(),
    "gru": lambda width, count: GruPooling(width, normed=False),  # VSRN on MSCOCO
    "gru_norm": lambda width, count: GruPooling(width, normed=True),  # VSRN on Flickr30K
    "self_attention": SelfAttention,
}
