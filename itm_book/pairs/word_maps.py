"""Where each word of one caption looks in one image, read off a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from itm_core.data.dataset import Split
from itm_core.errors import InputError
from itm_core.evaluation.scoring import pad
from itm_core.experiments.prepare import run_features
from itm_core.experiments.runs import Run
from itm_core.models import Matcher, MatchOutput
from itm_core.models.pairing import REGIONS


@dataclass(frozen=True)
class WordMaps:
    """Where each word of one caption looks in one image, as the matcher scored them.

    Attributes:
        words: the L tokens without ``<start>`` and ``<end>``.
        weights: ``[L, R]``; t2i: each row sums to one. i2t: each *column* spreads over the whole
            caption, start and end included.
        contribution: shares of the score, ``[L]`` (t2i) or ``[R]`` (i2t).
        rest: what no word (or region) shown accounts for: ``<start>`` and ``<end>``, the other
            direction, a whole-image similarity.
        score: of the pair; equals ``contribution.sum() + rest``.
        direction: ``t2i`` or ``i2t``.
    """

    words: list[str]
    weights: np.ndarray
    contribution: np.ndarray
    rest: float
    score: float
    direction: str


def read_pair(
    run: Run, split: Split, image: int, caption: int, matcher: Matcher | None = None
) -> MatchOutput:
    """Return how a run's matcher scored one image and one caption of ``split``, step by step."""
    return read_pairs(run, split, [image], [split.captions[caption]], matcher)


@torch.no_grad()
def read_pairs(
    run: Run,
    split: Split,
    images: Sequence[int],
    sentences: Sequence[str],
    matcher: Matcher | None = None,
) -> MatchOutput:
    """Return how a run's matcher scored the i-th of some images with the i-th sentence.

    All in one batch: shorter sentences are padded to the longest.
    """
    matcher = matcher or run.matcher()
    ids, lens = pad([run.vocabulary.encode(sentence) for sentence in sentences])
    features = torch.from_numpy(np.array(run_features(run, split)[list(images)]))
    return matcher.explain(matcher.regions(features), matcher.words(ids, lens))


def explain(
    run: Run, split: Split, image: int, caption: int, *, direction: str | None = None
) -> WordMaps:
    """Return where the words of a caption look in an image of ``split``.

    ``direction`` chooses between the two of a method that has both (default: words ask).
    Raises `InputError` for a method without attention, or without that direction.
    """
    reading = read_pair(run, split, image, caption)
    looks = {"t2i" if look.key_axis == REGIONS else "i2t": look for look in reading.directions}
    direction = direction or next(iter(looks), "t2i")
    if direction not in looks:
        raise InputError(
            "nothing looks that way in this method",
            found=f"{direction} of {run.recipe.name}",
            expected=f"one of {', '.join(looks)}" if looks else "a method that attends",
        )
    look = looks[direction]
    assert look.contribution is not None  # `explain` fills it
    share = look.contribution[0, :, 0].numpy()
    score = float(reading.score)
    contribution = share[1:-1, 0] if direction == "t2i" else share[0]
    return WordMaps(
        words=run.vocabulary.tokens(split.captions[caption]),
        weights=look.weights[0, 1:-1, 0].numpy(),
        contribution=contribution,
        rest=score - float(contribution.sum()),
        score=score,
        direction=direction,
    )
