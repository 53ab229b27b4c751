"""Scores of positives against hardest negatives: margins, types of errors, joint failures.

A query is an image (image to text, i2t) or a caption (text to image, t2i). Its *positive* is the
largest score of a relevant item, its *negative* the largest score of an irrelevant one, its
*margin* the difference. The margin is above zero exactly when a relevant item is ranked first, so
the fraction of other margins is one minus R@1.

Page: "Similarity distributions".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from itm_book.scenes.controls import meanings
from itm_book.scenes.errors import ERROR_TYPES, pair_error_types
from itm_core.data.dataset import Split
from itm_core.data.vocabulary import tokenise
from itm_core.evaluation import retrieval
from itm_core.evaluation.statistics import bootstrap_means, interval
from itm_core.experiments.runs import Run
from itm_core.settings import one_of

MIN_QUERIES = 20  # behind an error rate
RANDOM_PAIRS = "(random negative pairs)"
RANKS = {"rank 2": (1, 2), "ranks 3-5": (2, 5), "ranks 6-10": (5, 10), "beyond 10": (10, None)}


@dataclass(frozen=True, eq=False)
class QueryScores:
    """The two scores that decide each query of one direction.

    Attributes:
        positive: ``[Q]`` the largest score of a relevant item.
        negative: ``[Q]`` the largest score of an irrelevant item.
        hardest: ``[Q]`` the irrelevant item with that score, the first of ties: a caption for an
            image, an image for a caption.
    """

    positive: np.ndarray
    negative: np.ndarray
    hardest: np.ndarray

    @property
    def margin(self) -> np.ndarray:
        """``[Q]`` positive minus negative; above zero where a relevant item is ranked first."""
        return self.positive - self.negative

    @property
    def failed(self) -> np.ndarray:
        """``[Q]`` bool: no relevant item is ranked first; ties count as failures."""
        return self.positive <= self.negative


def query_scores(
    scores: np.ndarray, caption_image: np.ndarray | None = None
) -> dict[str, QueryScores]:
    """Return positives and hardest negatives of both directions, by ``i2t`` and ``t2i``.

    Shapes: ``scores [I, C]``; ``caption_image [C]`` here and below as for `retrieval.ranks`.

    >>> by_direction = query_scores(np.array([[0.9, 0.3], [0.5, 0.2]]))
    >>> by_direction["i2t"].margin.round(1), by_direction["t2i"].margin.round(1)
    (array([ 0.6, -0.3]), array([ 0.4, -0.1]))
    """
    images, captions = np.arange(len(scores)), np.arange(scores.shape[1])
    caption_image = retrieval.image_of_captions(scores, caption_image)
    positive = scores[caption_image, captions].astype(float)
    negative = _masked_positives(scores, caption_image)
    hardest = {"i2t": negative.argmax(1), "t2i": negative.argmax(0)}
    return {
        "i2t": QueryScores(
            np.maximum.reduceat(positive, np.searchsorted(caption_image, images)),
            negative[images, hardest["i2t"]],
            hardest["i2t"],
        ),
        "t2i": QueryScores(positive, negative[hardest["t2i"], captions], hardest["t2i"]),
    }


def _masked_positives(scores: np.ndarray, caption_image: np.ndarray) -> np.ndarray:
    """Return a float64 copy of ``scores [I, C]`` with minus infinity for positive pairs."""
    masked = scores.astype(float)
    masked[caption_image, np.arange(scores.shape[1])] = -np.inf
    return masked


def negative_moments(
    scores: np.ndarray, caption_image: np.ndarray | None = None
) -> tuple[float, float]:
    """Return mean and population standard deviation of the scores of all negative pairs."""
    negative = np.ones(scores.shape, bool)
    of_caption = retrieval.image_of_captions(scores, caption_image)
    negative[of_caption, np.arange(scores.shape[1])] = False
    values = scores[negative].astype(float)
    return float(values.mean()), float(values.std())


def standardise(scores: np.ndarray, caption_image: np.ndarray | None = None) -> np.ndarray:
    """Return scores ``[I, C]`` shifted and scaled so that negative pairs have mean 0 and sd 1.

    Only shifted where all negative pairs have the same score.
    """
    mean, deviation = negative_moments(scores, caption_image)
    return (scores.astype(float) - mean) / (deviation or 1.0)


def standardised_queries(
    scores: np.ndarray, caption_image: np.ndarray | None = None
) -> dict[str, QueryScores]:
    """Return `query_scores` in standard deviations of the negative pairs, 0 being their mean.

    One shift and one positive scale per method: no rank and no sign of a margin changes.
    """
    mean, deviation = negative_moments(scores, caption_image)
    deviation = deviation or 1.0  # all negative pairs have the same score
    return {
        direction: replace(
            queries,
            positive=(queries.positive - mean) / deviation,
            negative=(queries.negative - mean) / deviation,
        )
        for direction, queries in query_scores(scores, caption_image).items()
    }


# --- types of errors ---------------------------------------------------------------------------


def hardest_negative_pairs(
    scores: np.ndarray, direction: str, caption_image: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image, caption and weight ``[N]`` of the negative pairs that are ranked first.

    Each failed query has a total weight of one, split equally between its hardest negatives of
    equal score, so that no number depends on the order of the files.
    """
    caption_image = retrieval.image_of_captions(scores, caption_image)
    queries = query_scores(scores, caption_image)[direction]
    masked = _masked_positives(scores, caption_image)
    failed = np.flatnonzero(queries.failed)
    candidates = (masked if direction == "i2t" else masked.T)[failed]
    query, item = (candidates == queries.negative[failed, None]).nonzero()
    weight = 1 / np.bincount(query)[query]
    pair = (failed[query], item) if direction == "i2t" else (item, failed[query])
    return *pair, weight


def error_types(
    runs: Mapping[str, Run], split: Split, direction: str, *, seed: int = 0
) -> pd.DataFrame:
    """Return the `ERROR_TYPES` of the negatives ranked first, in percent of each run's errors.

    One row per run, and the last of random negative pairs for comparison. Empty for a split
    without the ground truth of Scenes.
    """
    count = len(split.captions)
    draw = np.random.default_rng(seed)
    random_captions = draw.permutation(count)
    other = (split.caption_image + draw.integers(1, len(split.ids), count)) % len(split.ids)
    pairs = {
        name: hardest_negative_pairs(run.scores, direction, run.caption_image)
        for name, run in runs.items()
    }
    pairs[RANDOM_PAIRS] = (other[random_captions], random_captions, np.ones(count))
    names = np.repeat(list(pairs), [len(weight) for *_, weight in pairs.values()])
    images, captions, weight = (np.concatenate(part) for part in zip(*pairs.values(), strict=True))
    types = pair_error_types(split, images, captions)
    if types is None:
        return pd.DataFrame()
    percent = 100 * pd.crosstab(names, np.array(types), weight, aggfunc="sum", normalize="index")
    return percent.reindex(index=list(pairs), columns=list(ERROR_TYPES)).fillna(0.0)


def positive_ranks(runs: Mapping[str, Run], direction: str) -> pd.DataFrame:
    """Return the rank of the first relevant item where it is not 1, in percent of the errors."""
    rows = {}
    for name, run in runs.items():
        ranks = getattr(retrieval.ranks(run.scores, run.caption_image), direction)  # from 0
        failed = ranks[ranks > 0]
        rows[name] = {
            label: 100 * float(np.mean((failed >= low) & (failed < (high or np.inf))))
            if len(failed)
            else 0.0
            for label, (low, high) in RANKS.items()
        }
    return pd.DataFrame(rows).T


def query_properties(split: Split, direction: str) -> dict[str, np.ndarray]:
    """Return properties of the queries of a direction by name, ``[Q]`` integers each.

    Of a caption: its length in tokens and, where the dataset has them, the number of mentioned
    objects and of objects in its image. Of an image: the latter, and the mean length of its
    captions.
    """
    one_of("direction", direction, ("i2t", "t2i"))
    length = np.array([len(tokenise(caption)) for caption in split.captions])
    scenes, caption_meanings = split.objects(), meanings(split)
    objects = None if scenes is None else np.array([len(scene["objects"]) for scene in scenes])
    if direction == "i2t":
        sums = np.bincount(split.caption_image, length)
        mean = (sums / split.caption_counts).round().astype(int)
        properties = {"mean caption length (tokens)": mean}
        return properties if objects is None else {**properties, "objects in the image": objects}
    properties = {"caption length (tokens)": length}
    if caption_meanings is not None:
        mentions = [meaning["mentions"] for meaning in caption_meanings]
        properties["mentioned objects"] = np.array(
            [sum(mention["count"] for mention in of_caption) for of_caption in mentions]
        )
    if objects is not None:
        properties["objects in the image"] = objects[split.caption_image]
    return properties


def error_rates(
    runs: Mapping[str, Run], split: Split, direction: str, *, bins: int = 6
) -> dict[str, pd.DataFrame]:
    """Return the percentage of failed queries by the value of each of `query_properties`.

    Columns are the runs, the index is the mean of the property in its bin. A property with more
    values than ``bins`` is cut into as many quantile bins; bins with fewer than `MIN_QUERIES`
    queries are left out.
    """
    failed = failures(runs, direction)
    panels = {}
    for name, values in query_properties(split, direction).items():
        few = len(np.unique(values)) <= bins
        label = values if few else pd.qcut(values, bins, labels=False, duplicates="drop")
        rates = (100.0 * failed).groupby(label).mean()
        rates.index = pd.Index(pd.Series(values).groupby(label).mean())
        enough = pd.Series(values).groupby(label).size().to_numpy() >= MIN_QUERIES
        panels[name] = rates[enough]
    return panels


# --- joint failures ----------------------------------------------------------------------------


def failures(runs: Mapping[str, Run], direction: str) -> pd.DataFrame:
    """Return which queries each run fails: one column per run, ``[Q]`` bool."""
    return pd.DataFrame(
        {
            name: query_scores(run.scores, run.caption_image)[direction].failed
            for name, run in runs.items()
        }
    )


def failure_kappa(failed: pd.DataFrame) -> pd.DataFrame:
    """Return Cohen's kappa of every two columns of `failures`: agreement beyond chance.

    One: the same queries fail. Zero: as expected of independent failures at the methods' own
    rates. NaN where the agreement expected by chance is complete.
    """
    values = failed.to_numpy(float)
    rate, count = values.mean(0), len(values)
    observed = (values.T @ values + (1 - values).T @ (1 - values)) / count
    chance = np.outer(rate, rate) + np.outer(1 - rate, 1 - rate)
    room = 1 - chance
    kappa = np.where(room > 0, (observed - chance) / np.where(room > 0, room, 1), np.nan)
    return pd.DataFrame(kappa, failed.columns, failed.columns)


def joint_failures(failed: pd.DataFrame) -> pd.DataFrame:
    """Return the percentage of queries that exactly k of the N columns fail, for k = 0 .. N.

    ``observed``, and ``independent``: expected if every method failed independently at its own
    rate.
    """
    count = len(failed.columns)
    observed = np.bincount(failed.sum(axis=1), minlength=count + 1) / len(failed)
    expected = np.ones(1)
    for rate in failed.mean():
        expected = np.convolve(expected, [1 - rate, rate])
    return pd.DataFrame({"observed": 100 * observed, "independent": 100 * expected})


def ensemble_gains(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Return what averaging two methods gains over the better one, one row for every two.

    The average is over standardised scores. Columns: ``first``, ``second``, ``kappa`` (of their
    failures, text to image), ``better`` and ``worse`` (their rSum), ``average`` (rSum of the
    ensemble), ``gain`` with ``low`` and ``high`` (paired 95 % interval over images), and
    ``either``: percentage of captions for which at least one ranks the image first.
    """
    failed = failures(runs, "t2i")
    kappa = failure_kappa(failed)
    standardised = {name: standardise(run.scores, run.caption_image) for name, run in runs.items()}
    images = next(iter(runs.values())).caption_image
    hits = {name: retrieval.hits(scores, images) for name, scores in standardised.items()}
    rows, gaps = [], []
    for a, b in combinations(runs, 2):
        worse, better = sorted((hits[a][:, -1], hits[b][:, -1]), key=np.mean)
        ensemble = retrieval.ensemble([standardised[a], standardised[b]])
        average = retrieval.hits(ensemble, images)[:, -1]
        row = {"first": a, "second": b, "kappa": kappa.loc[a, b]}
        row |= {"better": better.mean(), "worse": worse.mean(), "average": average.mean()}
        row["either"] = 100 * float((~(failed[a] & failed[b])).mean())
        rows.append(row)
        gaps.append(average - better)
    gap = np.stack(gaps, 1)
    low, high = interval(bootstrap_means(gap))
    return pd.DataFrame(rows).assign(gain=gap.mean(0), low=low, high=high)
