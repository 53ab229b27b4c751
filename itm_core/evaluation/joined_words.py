"""Attention of BERT's word pieces as attention of the words of a caption.

Annotations and pages are about words, one row each, as `data.vocabulary.tokenise` splits a
caption. Word pieces are finer: ``WordPieces.word_rows`` tells the word of each piece.

Page: the CHAN chapter, "The method".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from itm_core.evaluation.scoring import pad

Rule = Literal["mean", "sum"]


def join_pieces(values: Tensor, rows: Sequence[Sequence[int]], rule: Rule) -> Tensor:
    """Return values of pieces, ``[C, L, N]``, as values of words, ``[C, W, N]``.

    A word without a piece of its own gets zeros (``not`` of the piece ``cannot``, which counts as
    ``can``).

    Args:
        rows: the word of each piece of every caption; pieces beyond them are padding.
        rule: ``mean`` where pieces are queries, whose weights still sum to one; ``sum`` for
            contributions, and where pieces are keys, whose weights are parts of one.

    >>> join_pieces(torch.tensor([[[1.0], [2.0], [4.0]]]), [[0, 1, 1]], "mean")
    tensor([[[1.],
             [3.]]])
    """
    count = 1 + max(max(caption) for caption in rows)
    place, lens = pad(rows)
    place[torch.arange(place.shape[1]) >= lens[:, None]] = count  # a row for padding, cut off
    place = place.to(values.device)
    values = values[:, : place.shape[1]]
    index = place[..., None].expand_as(values)
    shape = len(rows), count + 1, values.shape[2]
    words = values.new_zeros(shape).scatter_add(1, index, values)[:, :count]
    if rule == "sum":
        return words
    pieces = values.new_zeros(shape).scatter_add(1, index, torch.ones_like(values))[:, :count]
    return words / pieces.clamp(min=1)
