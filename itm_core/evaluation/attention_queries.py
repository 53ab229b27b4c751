"""Attention on a split, query by query: measured at any IoU and by type of phrase from one pass.

`attention_quality` returns means over queries at one IoU. Here the weights of all queries are
collected once, with the overlaps of regions and boxes, so that thresholds on IoU, types of
phrases and intervals over images need no further pass of the matcher.

Letters: M queries, N keys, T types of phrases, L words.

Page: "What attention metrics can and cannot say".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad as pad_right

from itm_core.data.dataset import Split
from itm_core.errors import InputError
from itm_core.evaluation.attention_measures import QueryMeasures, by_query
from itm_core.evaluation.attention_quality import Annotation, matched_pairs
from itm_core.evaluation.joined_words import Rule, join_pieces
from itm_core.evaluation.scoring import pad
from itm_core.models import Matcher
from itm_core.models.pairing import REGIONS

FIRST, LAST = "first", "last"  # passes of attention


@dataclass(frozen=True, eq=False)
class Queries:
    """The queries of one direction and pass, on every caption with its own image.

    Queries are the words that name an object with a box (t2i), or all regions (i2t).

    Attributes:
        weights: ``[M, N]`` attention; zero beyond the keys.
        overlap: ``[M, N]`` the IoU of query and key, see `Annotation`.
        keys: ``[M]`` the number of keys; the others are padding.
        image: ``[M]`` the image of each query.
        types: ``[M, T]`` bool of word queries, or ``[M, N, T]`` of the keys of region queries.
    """

    weights: Tensor
    overlap: Tensor
    keys: Tensor
    image: Tensor
    types: Tensor

    def uniform(self) -> Queries:
        """Return the same queries with equal weights on all their keys."""
        real = torch.arange(self.weights.shape[1]) < self.keys[:, None]
        return replace(self, weights=real / self.keys.double()[:, None])

    def measured(self, threshold: float) -> MeasuredQueries:
        """Return the measures of the queries with a key that is relevant at an IoU."""
        relevant = self.overlap >= threshold
        some = relevant.any(1)
        if self.types.dim() == 2:
            types, without = self.types[some], self.types[~some].sum(0)
        else:  # of a region: the types of the words that name what it shows
            types = (relevant[some][:, :, None] & self.types[some]).any(1)
            without = torch.zeros(self.types.shape[2], dtype=torch.long)
        return MeasuredQueries(
            by_query(self.weights, relevant, self.keys),
            self.image[some].numpy(),
            types.numpy(),
            (int((~some).sum()), *without.tolist()),
        )


@dataclass(frozen=True, eq=False)
class MeasuredQueries:
    """The measures of the queries with a relevant key, and how many queries have none.

    Attributes:
        measures: of M queries.
        image: ``[M]``.
        types: ``[M, T]`` bool; of a region, the types of the words that name what it shows.
        dropped: ``1 + T`` numbers of queries without a relevant key: of all, then of each type;
            zero for the types of region queries, since a region that shows nothing has no type.
    """

    measures: QueryMeasures
    image: np.ndarray
    types: np.ndarray
    dropped: tuple[int, ...]


@torch.no_grad()
def attended_queries(
    matcher: Matcher,
    split: Split,
    tokens: Sequence[Sequence[int]],
    annotated: Annotation,
    features: Any = None,
    *,
    word_rows: Sequence[Sequence[int]] | None = None,
) -> dict[tuple[str, str], Queries]:
    """Return the queries of a matcher by direction (``t2i``, ``i2t``) and pass.

    Every direction has the pass `LAST`; one with several passes also `FIRST`, which of a
    regulator is the attention of its host. Empty for a matcher without attention.

    Args:
        tokens: token ids of the captions.
        annotated: the annotation of the split, see `attention_quality.annotation`.
        features: replace ``split.features`` where a recipe adds positions.
        word_rows: the word of each token where words come in pieces, see `joined_words`.

    Raises `InputError` where the annotation is of captions with another number of tokens.
    """
    _check_lengths(split, tokens, annotated, word_rows)
    parts: dict[tuple[str, str], list[Queries]] = {}
    for rows, pairing in matched_pairs(matcher, split, tokens, features):
        overlap, lens = pad(annotated.overlap[rows], float)
        overlap = overlap[:, :, : pairing.regions.vectors.shape[1]]
        naming, types = (pad(part[rows], bool)[0] for part in (annotated.naming, annotated.types))
        image = torch.from_numpy(split.caption_image[rows])
        for output in matcher.match(pairing).directions:
            passes = {LAST: output.passes[-1]} | (
                {FIRST: output.passes[0]} if len(output.passes) > 1 else {}
            )
            direction = "t2i" if output.key_axis == REGIONS else "i2t"
            for name, attention in passes.items():
                weights = attention.weights[:, :, 0].float().cpu()
                if word_rows is not None:
                    rule: Rule = "mean" if direction == "t2i" else "sum"
                    weights = join_pieces(weights, word_rows[rows], rule)
                arguments = (weights, overlap, image, types)
                queries = (
                    _words(*arguments, naming, keys=pairing.regions.lens)
                    if direction == "t2i"
                    else _regions(*arguments, pairing.regions.mask.cpu(), keys=lens)
                )
                parts.setdefault((direction, name), []).append(queries)
    return {key: _joined(queries) for key, queries in parts.items()}


def _check_lengths(
    split: Split,
    tokens: Sequence[Sequence[int]],
    annotated: Annotation,
    word_rows: Sequence[Sequence[int]] | None,
) -> None:
    """Raise `InputError` for a caption whose words are not those of the annotation."""
    counts = (
        [len(of_caption) for of_caption in tokens]
        if word_rows is None
        else [of_caption[-1] + 1 for of_caption in word_rows]
    )
    for row, (count, naming) in enumerate(zip(counts, annotated.naming, strict=True), 1):
        if count != len(naming):
            raise InputError(
                "the annotation is of another caption",
                file=split.folder / f"{split.name}_words.json",
                row=row,
                expected=f"{count - 2} tokens",
                found=len(naming) - 2,
                remedy="annotate the split again (itm data entities)",
            )


def _words(
    weights: Tensor, overlap: Tensor, image: Tensor, types: Tensor, naming: Tensor, *, keys: Tensor
) -> Queries:
    """Return the words that name something as queries; ``weights`` and overlap ``[c, L, R]``."""
    of_query = naming.nonzero()[:, 0]
    return Queries(weights[naming], overlap[naming], keys[of_query], image[of_query], types[naming])


def _regions(
    weights: Tensor, overlap: Tensor, image: Tensor, types: Tensor, real: Tensor, *, keys: Tensor
) -> Queries:
    """Return the ``real [c, R]`` regions as queries, and the words of their caption as keys."""
    of_query = real.nonzero()[:, 0]
    return Queries(
        weights.mT[real], overlap.mT[real], keys[of_query], image[of_query], types[of_query]
    )


def _joined(parts: Sequence[Queries]) -> Queries:
    """Return the queries of all batches, padded to as many keys as the widest has."""
    wide = max(part.weights.shape[1] for part in parts)

    def joined(name: str) -> Tensor:
        """Return one field of all batches."""
        values = [getattr(part, name) for part in parts]
        if name in ("weights", "overlap"):
            values = [pad_right(x, (0, wide - x.shape[1])) for x in values]
        elif values[0].dim() == 3:
            values = [pad_right(x, (0, 0, 0, wide - x.shape[1])) for x in values]
        return torch.cat(values)

    return Queries(*(joined(name) for name in ("weights", "overlap", "keys", "image", "types")))
