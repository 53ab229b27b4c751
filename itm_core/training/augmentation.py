"""Size augmentation: words and regions are dropped at random in training.

Words (VSE-infinity, CHAN, RCAR): each token is selected with a probability; half of the selected
become ``<mask>``, a tenth a random id, and the rest is dropped. Regions (VSE-infinity, CHAN) are
dropped with a probability.

Page: the CHAN chapter, "Train"; the quirks, "CHAN".
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
from torch import Tensor

from itm_core.evaluation.scoring import pad

Draw = np.random.RandomState | np.random.Generator  # the release uses the first
MASKED, REPLACED = 0.5, 0.6  # of the selected: up to the first masked, up to the second replaced


def drop_words(
    units: Sequence[Sequence[int]], rate: float, mask: int, ids: Sequence[int], draw: Random
) -> list[int]:
    """Return the ids of a caption with some of its units masked, replaced or dropped.

    A unit is one token, or all pieces of one word where words are split (BERT); random ids are
    drawn for each piece. A caption keeps its first id where all would be dropped: the release
    continues without any, and fails where ``<start>`` and ``<end>`` are dropped too.

    Args:
        rate: the probability that a unit is selected.
        mask: id of ``<mask>``.
        ids: the ids that replace others.

    >>> drop_words([[4], [5], [6]], 0.0, 9, [4, 5, 6], Random(0))
    [4, 5, 6]
    """
    kept: list[int] = []
    for unit in units:
        chance = draw.random()
        if chance >= rate:
            kept.extend(unit)
        elif chance / rate < MASKED:
            kept.extend([mask] * len(unit))
        elif chance / rate < REPLACED:
            kept.extend(draw.choice(ids) for _ in unit)
    return kept or [unit[0] for unit in units[:1]]


def drop_tokens(
    tokens: Sequence[int], rate: float, mask: int, draw: Random, *, keep_special_tokens: bool
) -> list[int]:
    """Return a caption's token ids after `drop_words`; random ids are any, ``<mask>`` included.

    ``keep_special_tokens`` keeps ``<start>`` and ``<end>`` (RCAR); CHAN's release drops them too.

    Page: the CHAN chapter, "Train".
    """
    inner = tokens[1:-1] if keep_special_tokens else tokens
    if not inner:
        return list(tokens)
    kept = drop_words([[token] for token in inner], rate, mask, range(mask + 1), draw)
    return [tokens[0], *kept, tokens[-1]] if keep_special_tokens else kept


def keep_regions(count: int, rate: float, draw: Draw) -> np.ndarray:
    """Return the indices of the regions to keep, at least one, each with probability 1 - rate."""
    kept = np.flatnonzero(draw.random(count) > rate)
    return kept if len(kept) else np.array([0])


def drop_regions(
    features: np.ndarray, rate: float, draw: Draw, lens: np.ndarray | None = None
) -> tuple[Tensor, Tensor]:
    """Return features ``[n, R, F]`` with regions dropped, zero-padded, and counts ``[n]``.

    ``lens [n]`` are the numbers of regions before, where images have fewer than R.

    Page: the CHAN chapter, "Train".
    """
    counts = [features.shape[1]] * len(features) if lens is None else lens.tolist()
    kept = [
        image[keep_regions(count, rate, draw)]
        for image, count in zip(features, counts, strict=True)
    ]
    return pad(kept, features.dtype)
