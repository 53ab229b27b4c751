"""Size augmentation: training sees captions and images with a part left out.

Words (VSE-infinity, CHAN, RCAR): each token is picked with a probability; a picked one becomes
``<mask>`` (half of them), a random id (a tenth), or is left out. Regions (VSE-infinity, CHAN)
are left out with a probability.

Page: the CHAN chapter, "Train"; the quirks, "CHAN".
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np

Draw = np.random.RandomState | np.random.Generator  # the release draws from the first
MASKED, EXCHANGED = 0.5, 0.6  # of the picked: below the first masked, below the second exchanged


def drop_words(
    units: Sequence[Sequence[int]], rate: float, mask: int, ids: Sequence[int], draw: Random
) -> list[int]:
    """Return the ids of a caption with a share of its units masked, exchanged or left out.

    A unit is one token, or the pieces of one word where words come in pieces (BERT): all of
    them share its fate, and random ids are drawn for each piece. A caption from which everything
    would go keeps its first id: the release goes on without any, and fails where ``<start>`` and
    ``<end>`` went too. Without units there is nothing to keep.

    Args:
        rate: the share that is picked.
        mask: id of ``<mask>``.
        ids: what a random id is drawn from.

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
        elif chance / rate < EXCHANGED:
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
    """Return the places of the regions that stay, each with probability ``1 - rate``.

    At least one stays.
    """
    kept = np.flatnonzero(draw.random(count) > rate)
    return kept if len(kept) else np.array([0])


def drop_regions(features: np.ndarray, rate: float, draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    """Return features ``[n, R, F]`` with regions left out, zero-padded; and counts ``[n]``.

    Page: the CHAN chapter, "Train".
    """
    return pad_regions([image[keep_regions(len(image), rate, draw)] for image in features])


def pad_regions(images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the regions of images ``[k, F]`` as one array ``[n, R, F]``, and counts ``[n]``."""
    lens = np.array([len(image) for image in images], np.int64)
    padded = np.zeros((len(images), lens.max(), images[0].shape[1]), images[0].dtype)
    for row, image in zip(padded, images, strict=True):
        row[: len(image)] = image
    return padded, lens
