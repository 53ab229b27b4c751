"""The pair that is explained first, chosen by a rule, and the pairs of the menu.

Page: "First match".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML

from itm_book.datasets.run_features import run_features
from itm_book.pairs.pair_records import PairRecord, pair_record
from itm_book.tables import sentences
from itm_core.data.dataset import Split
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments.prepare import encode
from itm_core.experiments.run import Run

MOST_PAIRS = 10  # of the menu


def scores(run: Run, split: Split) -> np.ndarray:
    """Return the scores ``[I, C]`` of all images with all captions of a split.

    Raises `InputError` for other features than those that the run was trained on.
    """
    return score_matrix(run.matcher(), run_features(run, split), encode(split, run.vocabulary))


def margins(scores: np.ndarray, first_captions: np.ndarray | None = None) -> np.ndarray:
    """Return for the first caption of each image how far the image leads, ``[I]``.

    The score of the image with its first caption, less the best score of another image with it.
    ``first_captions [I]`` are those of the split; by default all images have as many captions.

    >>> margins(np.array([[3.0, 0, 1, 0], [1.0, 0, 0, 5]])).tolist()  # two captions an image
    [2.0, -1.0]
    """
    images, captions = scores.shape
    if first_captions is None:
        first_captions = np.arange(0, captions, captions // images)
    first = scores[:, first_captions]
    others = np.where(np.eye(images, dtype=bool), -np.inf, first)
    return np.diagonal(first) - others.max(0)


def surest(scores: np.ndarray, first_captions: np.ndarray | None = None) -> int:
    """Return the image whose first caption prefers it to all others by the largest margin."""
    return int(margins(scores, first_captions).argmax())


def leads(scores: np.ndarray, split: Split) -> pd.DataFrame:
    """Return a row for each of the first images, with its first caption.

    Columns: ``photograph``, ``first sentence``, ``score`` of the pair, ``best other`` score of the
    sentence, ``margin`` between the two, and the ``rank`` of the right photograph, last of equals.
    """
    images = np.arange(min(MOST_PAIRS, len(scores)))
    first = split.first_captions[images]
    own = scores[images, first]
    margin = margins(scores, split.first_captions)[images]
    ranks = (scores[:, first] >= own).sum(0)
    return pd.DataFrame(
        {
            "photograph": [split.ids[k] for k in images],
            "first sentence": [split.captions[split.place(int(k), 0)] for k in images],
            "score": [f"{value:.3f}" for value in own],
            "best other": [f"{value:.3f}" for value in own - margin],
            "margin": [f"{value:+.3f}" for value in margin],
            "rank": ranks,
        }
    )


def finding(name: str, scores: np.ndarray, split: Split) -> HTML:
    """Return for how many of the first images their first caption ranks them first."""
    ranks = leads(scores, split)["rank"]
    return sentences.finding(
        f"{escape(name)} ranks the right photograph first for {(ranks == 1).sum()} of "
        f"{len(ranks)} sentences, among {len(scores)} photographs."
    )


def menu_pairs(runs: Mapping[str, Run], split: Split) -> list[list[PairRecord]]:
    """Return the records of each of the first images with its first caption, by every run."""
    images = range(min(MOST_PAIRS, len(split.regions)))
    matchers = {name: run.matcher() for name, run in runs.items()}
    return [
        [
            pair_record(run, split, image, split.place(image, 0), name=name, matcher=matchers[name])
            for name, run in runs.items()
        ]
        for image in images
    ]


def shown_pair(image: int, pairs: Sequence[object]) -> int:
    """Return the place of an image in the menu; the first pair if it is not there."""
    return image if image < len(pairs) else 0
