"""Attention of one caption over one image, from a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from itm_book.datasets.run_features import run_features
from itm_core.data.dataset import Split
from itm_core.errors import InputError
from itm_core.evaluation.joined_words import join_pieces
from itm_core.evaluation.scoring import encode_regions, pad
from itm_core.experiments.prepare import word_rows
from itm_core.experiments.runs import Run
from itm_core.models import Matcher, MatchOutput
from itm_core.models.pairing import REGIONS


@dataclass(frozen=True)
class WordMaps:
    """Attention between the words of one caption and the regions of one image.

    Attributes:
        words: the L tokens without ``<start>`` and ``<end>``.
        weights: ``[L, R]``; t2i: each row sums to one. i2t: each *column* sums to one over
            all tokens, start and end included.
        contribution: of each query to the score, ``[L]`` (t2i) or ``[R]`` (i2t).
        remainder: the part of the score outside ``contribution``: ``<start>`` and ``<end>``, the
            other direction, a global similarity.
        score: of the pair; equals ``contribution.sum() + remainder``.
        direction: ``t2i`` or ``i2t``.
    """

    words: list[str]
    weights: np.ndarray
    contribution: np.ndarray
    remainder: float
    score: float
    direction: str


def read_pair(
    run: Run, split: Split, image: int, caption: int, matcher: Matcher | None = None
) -> MatchOutput:
    """Return the explained output of a run's matcher for one image and one caption of ``split``."""
    return read_pairs(run, split, [image], [split.captions[caption]], matcher)


@torch.no_grad()
def read_pairs(
    run: Run,
    split: Split,
    images: Sequence[int],
    sentences: Sequence[str],
    matcher: Matcher | None = None,
) -> MatchOutput:
    """Return the explained output of a run's matcher for the i-th image with the i-th sentence.

    All pairs are in one batch; shorter sentences are padded to the longest.
    """
    matcher = matcher or run.matcher()
    ids, lens = pad([run.vocabulary.encode(sentence) for sentence in sentences])
    features = run_features(run, split)[list(images)]
    return matcher.explain(encode_regions(matcher, features), matcher.words(ids, lens))


def explain(
    run: Run, split: Split, image: int, caption: int, *, direction: str | None = None
) -> WordMaps:
    """Return the attention between the words of a caption and an image of ``split``.

    ``direction``: ``t2i`` or ``i2t``, for a method with both (default: ``t2i``).
    Raises `InputError` for a method without attention, or without that direction.
    """
    output = read_pair(run, split, image, caption)
    outputs = {"t2i" if side.key_axis == REGIONS else "i2t": side for side in output.directions}
    direction = direction or next(iter(outputs), "t2i")
    if direction not in outputs:
        raise InputError(
            "this method does not attend in that direction",
            found=f"{direction} of {run.recipe.name}",
            expected=f"one of {', '.join(outputs)}" if outputs else "a method that attends",
        )
    attended = outputs[direction]
    assert attended.contribution is not None  # `explain` fills it
    weights, shares = attended.weights[:, :, 0], attended.contribution[:, :, 0]
    rows = word_rows([split.captions[caption]], run.vocabulary)
    if rows is not None:
        weights = join_pieces(weights, rows, "mean" if direction == "t2i" else "sum")
        shares = join_pieces(shares, rows, "sum") if direction == "t2i" else shares
    score = float(output.score)
    contribution = (shares[0, 1:-1, 0] if direction == "t2i" else shares[0, 0]).numpy()
    return WordMaps(
        words=run.vocabulary.tokens(split.captions[caption]),
        weights=weights[0, 1:-1].numpy(),
        contribution=contribution,
        remainder=score - float(contribution.sum()),
        score=score,
        direction=direction,
    )
