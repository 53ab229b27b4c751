"""Fragments: the regions of images or the words of captions, as one padded set of vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from itm_core.environment import exact

TINY = 1e-8  # the epsilon that SCAN and its successors add to norms
GRAM_JITTER = 1e-13  # of the largest squared length: a length of zero becomes 3e-7 of the longest


def length(x: Tensor, dim: int = -1) -> Tensor:
    """Return the Euclidean length of ``x`` along ``dim``, which is kept with size 1.

    Ten times faster on a CPU than the library's vector norm when the axis is short. The clamp
    gives zero vectors a zero gradient, where the square root has none.
    """
    return x.square().sum(dim, keepdim=True).clamp_min(1e-30).sqrt()


def l2norm(x: Tensor) -> Tensor:
    """Return ``x`` with unit length along its last axis (zero vectors stay zero).

    The epsilon is added to the norm, as SCAN's released code does.
    """
    return x / (length(x) + TINY)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear map with Xavier-uniform weights and zero bias, as in SGRAF and RCAR."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


if TYPE_CHECKING:
    lazy = cached_property
else:

    class lazy:  # noqa: N801 - it reads like `property`
        """``functools.cached_property`` without its lock, which torch.compile cannot trace."""

        def __init__(self, function: Callable[[Any], Any]) -> None:
            self.function, self.__doc__ = function, function.__doc__

        def __get__(self, owner: Any, kind: type) -> Any:
            if owner is None:
                return self
            value = owner.__dict__[self.function.__name__] = self.function(owner)
            return value


@dataclass(frozen=True, eq=False)
class Fragments:
    """A padded set of regions or words.

    Attributes:
        vectors: ``[N, K, D]``, one row of K fragments per image or caption.
        lens: ``[N]`` int64 on the CPU, how many of the K are real; the rest is padding.
        pooled: ``[N, D]``, the pooled vector of each image or caption; None without pooling.
        rows: ``[N]`` int64, the indices of these rows in the batch that they were taken from.

    >>> words = Fragments.of(torch.randn(2, 5, 8), torch.tensor([5, 3]))
    >>> words.mask.sum().item()
    8
    """

    vectors: Tensor
    lens: Tensor
    pooled: Tensor | None = None
    rows: Tensor | None = None

    @classmethod
    def of(
        cls, vectors: Tensor, lens: Tensor | None = None, pooled: Tensor | None = None
    ) -> Fragments:
        """Return fragments with their lengths (all full when ``lens`` is not given)."""
        count, width = vectors.shape[:2]
        return cls(vectors, torch.full((count,), width) if lens is None else lens.cpu(), pooled)

    @lazy
    def indices(self) -> Tensor:
        """``[N]`` int64, the indices of the rows in their batch: `rows`, or 0 to N - 1."""
        rows = torch.arange(len(self.lens)) if self.rows is None else self.rows
        return rows.to(self.vectors.device)

    @lazy
    def ragged(self) -> bool:
        """Whether any row has padding; without padding no mask is applied."""
        return bool((self.lens < self.vectors.shape[1]).any())

    @lazy
    def mask(self) -> Tensor:
        """``[N, K]`` bool, True where a fragment is real."""
        positions = torch.arange(self.vectors.shape[1])
        return (positions < self.lens[:, None]).to(self.vectors.device)

    @lazy
    def norms(self) -> Tensor:
        """``[N, K]`` lengths of the vectors."""
        return length(self.vectors).squeeze(-1)

    @lazy
    def gram(self) -> Tensor:
        """``[N, K, K]`` dot products among the fragments of each row (float32 at least)."""
        vectors = self._accurate
        return vectors @ vectors.mT

    @lazy
    def root(self) -> Tensor:
        """``[N, K, K]`` upper triangular T with ``T'T = gram``, a Cholesky factor.

        ``|T a|`` is the length of the weighted sum with weights ``a``: accurate even when the
        summed fragments nearly cancel. The Gram matrix is computed in float64 for that, with a
        small jitter on its diagonal for equal or zero fragments. A QR factorisation of the
        fragments would be computed row by row on a GPU.
        """
        vectors = exact(self.vectors)
        gram = vectors @ vectors.mT
        diagonal = gram.diagonal(dim1=1, dim2=2)
        diagonal += GRAM_JITTER * diagonal.amax(1, keepdim=True) + torch.finfo(gram.dtype).tiny
        factor, failed = torch.linalg.cholesky_ex(gram, upper=True)
        return factor.masked_fill(failed[:, None, None] > 0, torch.nan).to(self._accurate)

    def precompute(self) -> None:
        """Compute now what is otherwise computed at first use."""
        self.indices, self.ragged, self.mask, self.norms, self.root  # noqa: B018

    @property
    def _accurate(self) -> Tensor:
        return self.vectors.float() if self.vectors.dtype.itemsize < 4 else self.vectors

    def take(self, index: Tensor) -> Fragments:
        """Return the rows ``index`` ``[n]``, trimmed to the longest of them."""
        lens = self.lens[index.cpu()]
        longest = int(lens.max()) if len(lens) else 0
        index = index.to(self.vectors.device)
        # not fancy indexing: the order of summation in its backward pass is not deterministic
        rows = self.vectors.index_select(0, index)
        pooled = None if self.pooled is None else self.pooled.index_select(0, index)
        return Fragments(rows[:, :longest], lens, pooled, self.indices[index])

    def chunks(self, size: int) -> list[Fragments]:
        """Return the rows in chunks of ``size``, each with the same K."""
        vectors, lens = self.vectors.split(size), self.lens.split(size)
        pooled = [None] * len(lens) if self.pooled is None else self.pooled.split(size)
        return list(map(Fragments, vectors, lens, pooled, self.indices.split(size)))

    def to(self, device: torch.device | str) -> Fragments:
        """Return the fragments on a device; their lengths stay on the CPU."""
        pooled = None if self.pooled is None else self.pooled.to(device)
        return Fragments(self.vectors.to(device), self.lens, pooled, self.rows)

    def detach(self) -> Fragments:
        """Return the fragments detached from the graph."""
        pooled = None if self.pooled is None else self.pooled.detach()
        return Fragments(self.vectors.detach(), self.lens, pooled, self.rows)
