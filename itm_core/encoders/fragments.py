"""Fragments: the regions of images, or the words of captions, as one padded set."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from itm_core.encoders.lazy import lazy

TINY = 1e-8  # the epsilon that the whole SCAN family adds to norms
GRAM_JITTER = 1e-13  # of the largest squared length: a length of zero becomes 3e-7 of the longest


def length(x: Tensor, dim: int = -1) -> Tensor:
    """Return the Euclidean length of ``x`` along ``dim``, which is kept as 1.

    Written out because the library's vector norm is ten times slower on a CPU when the axis is
    short. The clamp gives zero vectors a zero slope, where the square root has none.
    """
    return x.square().sum(dim, keepdim=True).clamp_min(1e-30).sqrt()


def l2norm(x: Tensor) -> Tensor:
    """Return ``x`` with unit length along its last axis (zero vectors stay zero).

    SCAN, section 3.2: both embeddings are L2-normalised. The epsilon is added to the norm, as
    the released code does, so a padded (zero) word stays exactly zero.
    """
    return x / (length(x) + TINY)


@dataclass(frozen=True, eq=False)
class Fragments:
    """A padded set of regions or words.

    Attributes:
        vectors: ``[N, K, D]``, one row of K fragments per image or caption.
        lens: ``[N]`` int64 on the CPU, how many of the K are real; the rest is padding.
        whole: ``[N, D]``, one vector for each image or caption as a whole, where a method has one.
        rows: ``[N]`` int64, the places of these rows in the batch they were taken from.

    >>> words = Fragments.of(torch.randn(2, 5, 8), torch.tensor([5, 3]))
    >>> words.mask.sum().item()
    8
    """

    vectors: Tensor
    lens: Tensor
    whole: Tensor | None = None
    rows: Tensor | None = None

    @classmethod
    def of(
        cls, vectors: Tensor, lens: Tensor | None = None, whole: Tensor | None = None
    ) -> Fragments:
        """Return fragments with their lengths (all full when ``lens`` is not given)."""
        count, width = vectors.shape[:2]
        return cls(vectors, torch.full((count,), width) if lens is None else lens.cpu(), whole)

    @lazy
    def places(self) -> Tensor:
        """``[N]`` int64, the places of the rows in their batch (`rows`, or one after another)."""
        rows = torch.arange(len(self.lens)) if self.rows is None else self.rows
        return rows.to(self.vectors.device)

    @lazy
    def ragged(self) -> bool:
        """Whether any row has padding; when none has, every mask is skipped."""
        return bool((self.lens < self.vectors.shape[1]).any())

    @lazy
    def mask(self) -> Tensor:
        """``[N, K]`` bool, True where a fragment is real."""
        places = torch.arange(self.vectors.shape[1])
        return (places < self.lens[:, None]).to(self.vectors.device)

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

        ``|T a|`` is the length of the mix ``a`` without squaring and cancelling: never negative,
        and accurate even when the mixed fragments nearly cancel. The Gram matrix is taken in
        float64 for that; a hair on its diagonal lets fragments be equal or zero. All rows at
        once, where a QR factorisation of the fragments goes through them one by one on a GPU.
        """
        exact = self.vectors.double()
        gram = exact @ exact.mT
        diagonal = gram.diagonal(dim1=1, dim2=2)
        diagonal += GRAM_JITTER * diagonal.amax(1, keepdim=True) + torch.finfo(gram.dtype).tiny
        factor, failed = torch.linalg.cholesky_ex(gram, upper=True)
        return factor.masked_fill(failed[:, None, None] > 0, torch.nan).to(self._accurate)

    def settle(self) -> None:
        """Work out now what is otherwise worked out when it is first asked for."""
        self.places, self.ragged, self.mask, self.norms, self.root  # noqa: B018

    @property
    def _accurate(self) -> Tensor:
        return self.vectors.float() if self.vectors.dtype.itemsize < 4 else self.vectors

    def take(self, index: Tensor) -> Fragments:
        """Return the rows named by ``index`` ``[n]``, trimmed to their own longest row."""
        lens = self.lens[index.cpu()]
        longest = int(lens.max()) if len(lens) else 0
        index = index.to(self.vectors.device)
        # not fancy indexing: its backward pass adds in whatever order the threads come
        rows = self.vectors.index_select(0, index)
        whole = None if self.whole is None else self.whole.index_select(0, index)
        return Fragments(rows[:, :longest], lens, whole, self.places[index])

    def chunks(self, size: int) -> list[Fragments]:
        """Return the rows in runs of ``size``, all as wide as before."""
        wholes = [None] if self.whole is None else self.whole.split(size)
        parts = zip(
            self.vectors.split(size), self.lens.split(size), self.places.split(size), strict=True
        )
        return [
            Fragments(vectors, lens, wholes[k] if self.whole is not None else None, rows)
            for k, (vectors, lens, rows) in enumerate(parts)
        ]

    def detach(self) -> Fragments:
        """Return the same fragments outside the graph of gradients."""
        whole = None if self.whole is None else self.whole.detach()
        return Fragments(self.vectors.detach(), self.lens, whole, self.rows)
