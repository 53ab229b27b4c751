"""Right answers against the hardest wrong ones: margins, errors, and who fails together.

A query is an image (image to text) or a caption (text to image). Its *positive* is the largest
score of a right answer, its *negative* the largest of a wrong one, its *margin* the difference:
above zero exactly when the right answer comes first, so the share of margins that are not is
one minus R@1.

Page: "Similarity distributions".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from itm_book.scenes.controls import meanings
from itm_book.scenes.errors import LACKS, lacking
from itm_core.data.dataset import Split
from itm_core.data.vocabulary import tokenise
from itm_core.evaluation import retrieval
from itm_core.evaluation.statistics import bootstrap_means, interval
from itm_core.experiments.runs import Run
from itm_core.settings import one_of

FEWEST = 20  # queries behind a rate
AT_RANDOM = "(a random wrong pair)"


@dataclass(frozen=True, eq=False)
class Queries:
    """The two scores that decide every query of one direction.

    Attributes:
        positive: ``[Q]`` the largest score of a right answer; negative: of a wrong one.
        rival: ``[Q]`` the wrong answer with that score, the first of equals: a caption for an
            image, an image for a caption.
    """

    positive: np.ndarray
    negative: np.ndarray
    rival: np.ndarray

    @property
    def margin(self) -> np.ndarray:
        """``[Q]`` positive less negative; above zero where the right answer is first."""
        return self.positive - self.negative

    @property
    def wrong(self) -> np.ndarray:
        """``[Q]`` bool: the right answer is not first (of equals the wrong one is)."""
        return self.positive <= self.negative


def queries(scores: np.ndarray) -> dict[str, Queries]:
    """Return positives and hardest negatives of both directions, by ``i2t`` and ``t2i``.

    Shapes: ``scores [I, C]``, captions ``n i .. n i + n - 1`` belong to image i.

    >>> found = queries(np.array([[0.9, 0.3], [0.5, 0.2]]))
    >>> found["i2t"].margin.round(1), found["t2i"].margin.round(1)
    (array([ 0.6, -0.3]), array([ 0.4, -0.1]))
    """
    images, captions = np.arange(len(scores)), np.arange(scores.shape[1])
    own = scores[captions // retrieval.captions_per_image(scores), captions].astype(float)
    wrong = _of_wrong_pairs(scores)
    by_image = own.reshape(len(images), -1).max(1)
    hardest = {"i2t": wrong.argmax(1), "t2i": wrong.argmax(0)}
    return {
        "i2t": Queries(by_image, wrong[images, hardest["i2t"]], hardest["i2t"]),
        "t2i": Queries(own, wrong[hardest["t2i"], captions], hardest["t2i"]),
    }


def _of_wrong_pairs(scores: np.ndarray) -> np.ndarray:
    """Return the scores ``[I, C]`` with minus infinity for right pairs."""
    wrong, captions = scores.astype(float), np.arange(scores.shape[1])  # a copy, without loss
    wrong[captions // retrieval.captions_per_image(scores), captions] = -np.inf
    return wrong


def wrong_pairs(scores: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of the scores of all wrong pairs.

    The population standard deviation: these pairs are all there are, and estimate no others.
    """
    captions = np.arange(scores.shape[1])
    wrong = np.ones(scores.shape, bool)
    wrong[captions // retrieval.captions_per_image(scores), captions] = False
    values = scores[wrong].astype(float)
    return float(values.mean()), float(values.std())


def standardised(scores: np.ndarray) -> dict[str, Queries]:
    """Return `queries` in units of the method's own wrong pairs.

    Zero is the mean score of a wrong pair, one its standard deviation. It is one shift and one
    scale for the whole method, so no answer changes its place and no margin its sign.
    """
    middle, scale = wrong_pairs(scores)
    scale = scale or 1.0  # a method that gives every wrong pair one score
    return {
        side: replace(
            one, positive=(one.positive - middle) / scale, negative=(one.negative - middle) / scale
        )
        for side, one in queries(scores).items()
    }


def both_scores(runs: Mapping[str, Run], side: str) -> dict[str, dict[str, np.ndarray]]:
    """Return what a ridge draws of every run: right answer and hardest wrong one, standardised."""
    found = {name: standardised(run.scores)[side] for name, run in runs.items()}
    return {
        name: {"right answer": one.positive, "hardest wrong answer": one.negative}
        for name, one in found.items()
    }


def margins(runs: Mapping[str, Run], side: str) -> dict[str, dict[str, np.ndarray]]:
    """Return what a ridge draws of every run: its margins, standardised."""
    return {name: {"margin": standardised(run.scores)[side].margin} for name, run in runs.items()}


def table(runs: Mapping[str, Run], side: str) -> pd.DataFrame:
    """Return how the margins of every run are spread, in percent of the queries of one direction.

    *R@1* is read from the run's record, *wrong* counted from its scores; *within* is right by less
    than the margin that training asks for (empty for another loss than the hinge), in the
    method's own scores; *beyond* by more.
    """
    rows = []
    for name, run in runs.items():
        found, units = queries(run.scores)[side], standardised(run.scores)[side]
        loss, row = run.recipe.loss, {"method": name}
        row["R@1"] = f"{run.metrics[f'{side}_r1']:.1f}"
        row["wrong (%)"] = f"{100 * found.wrong.mean():.1f}"
        row["training margin"] = f"{loss.margin:g}" if loss.kind == "hinge" else ""
        inside = ~found.wrong & (found.margin < loss.margin)
        beyond = f"{100 * (found.margin >= loss.margin).mean():.1f}"
        row["right, within it (%)"] = f"{100 * inside.mean():.1f}" if loss.kind == "hinge" else ""
        row["right, beyond it (%)"] = beyond if loss.kind == "hinge" else ""
        low, middle, high = np.percentile(units.margin, [5, 50, 95])
        row["margin, standardised"] = f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]"
        rows.append(row)
    return pd.DataFrame(rows)


# --- where errors come from --------------------------------------------------------------------


def wrong_answers(scores: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image, caption and weight ``[N]`` of the pairs that won and are wrong.

    A failed query has a weight of one: that of its hardest wrong answer, or of all that have the
    same score in equal parts, so that no number depends on the order of the files.
    """
    found, wrong = queries(scores)[side], _of_wrong_pairs(scores)
    failed = np.flatnonzero(found.wrong)
    winners = (wrong if side == "i2t" else wrong.T)[failed] == found.negative[failed, None]
    query, answer = winners.nonzero()
    weight = 1 / winners.sum(1)[query]
    images, captions = (failed[query], answer) if side == "i2t" else (answer, failed[query])
    return images, captions, weight


def lacks(runs: Mapping[str, Run], split: Split, side: str, *, seed: int = 0) -> pd.DataFrame:
    """Return what the winning wrong answers lack, in percent of each run's errors.

    One row a run and, to compare, one of wrong pairs drawn at random; columns are `LACKS`. Empty
    for a split that does not know.
    """
    count = len(split.captions)
    draw = np.random.default_rng(seed)
    captions = draw.permutation(count)
    other = (split.caption_image + draw.integers(1, len(split.ids), count)) % len(split.ids)
    answers = {name: wrong_answers(run.scores, side) for name, run in runs.items()}
    answers[AT_RANDOM] = (other[captions], captions, np.ones(count))
    names = np.repeat(list(answers), [len(weight) for *_, weight in answers.values()])
    images, captions, weight = (
        np.concatenate(part) for part in zip(*answers.values(), strict=True)
    )
    found = lacking(split, images, captions)
    if found is None:
        return pd.DataFrame()
    shares = 100 * pd.crosstab(names, np.array(found), weight, aggfunc="sum", normalize="index")
    return shares.reindex(index=list(answers), columns=list(LACKS)).fillna(0.0)


RANKS = {"second": (1, 2), "third to fifth": (2, 5), "sixth to tenth": (5, 10), "later": (10, None)}


def places(runs: Mapping[str, Run], side: str) -> pd.DataFrame:
    """Return at which place the right answer stands when it is not first, percent of the errors."""
    rows = {}
    for name, run in runs.items():
        ranks = getattr(retrieval.ranks(run.scores), side)
        failed = ranks[ranks > 0]
        rows[name] = {
            place: 100 * float(np.mean((failed >= low) & (failed < (high or np.inf))))
            if len(failed)
            else 0.0
            for place, (low, high) in RANKS.items()
        }
    return pd.DataFrame(rows).T


def traits(split: Split, side: str) -> dict[str, np.ndarray]:
    """Return what is known of every query of a direction, ``[Q]`` whole numbers by name.

    Of a caption its length in tokens and, where the dataset knows, how many objects it mentions
    and how many are in its image; of an image the latter and the mean length of its captions.
    """
    one_of("side", side, ("i2t", "t2i"))
    length = np.array([len(tokenise(caption)) for caption in split.captions])
    things, said = split.objects(), meanings(split)
    in_image = None if things is None else np.array([len(image["objects"]) for image in things])
    if side == "i2t":
        mean = length.reshape(len(split.ids), -1).mean(1).round().astype(int)
        found = {"mean length of the captions (tokens)": mean}
        return found if in_image is None else {**found, "objects in the image": in_image}
    found = {"length of the caption (tokens)": length}
    if said is not None:
        found["objects that it mentions"] = np.array(
            [sum(mention["count"] for mention in meaning["mentions"]) for meaning in said]
        )
    return found if in_image is None else {
        **found, "objects in its image": in_image[split.caption_image]
    }  # fmt: skip


def rates(
    runs: Mapping[str, Run], split: Split, side: str, *, bins: int = 6
) -> dict[str, pd.DataFrame]:
    """Return for each of `traits` how many percent of the queries fail, by its value.

    Columns are the runs, the index is the mean of the trait in its bin; a trait of more values
    than ``bins`` is cut into as many parts of about the same size. Parts of fewer than `FEWEST`
    queries are left out.
    """
    wrong = pd.DataFrame({name: queries(run.scores)[side].wrong for name, run in runs.items()})
    found = {}
    for name, values in traits(split, side).items():
        few = len(np.unique(values)) <= bins
        label = values if few else pd.qcut(values, bins, labels=False, duplicates="drop")
        part = (100.0 * wrong).groupby(label).mean()
        part.index = pd.Index(pd.Series(values).groupby(label).mean())
        enough = pd.Series(values).groupby(label).size().to_numpy() >= FEWEST
        found[name] = part[enough]
    return found


# --- who fails together ------------------------------------------------------------------------


def failures(runs: Mapping[str, Run], side: str) -> pd.DataFrame:
    """Return which queries each run fails: one column a run, ``[Q]`` bool."""
    return pd.DataFrame({name: queries(run.scores)[side].wrong for name, run in runs.items()})


def agreement(wrong: pd.DataFrame) -> pd.DataFrame:
    """Return how far two columns of `failures` agree beyond chance (Cohen's kappa).

    One: the same queries fail. Zero: as if each failed by itself, at its own rate. NaN where
    chance alone makes them agree in all.
    """
    values = wrong.to_numpy(float)
    rate, count = values.mean(0), len(values)
    both = (values.T @ values + (1 - values).T @ (1 - values)) / count
    chance = np.outer(rate, rate) + np.outer(1 - rate, 1 - rate)
    room = 1 - chance
    kappa = np.where(room > 0, (both - chance) / np.where(room > 0, room, 1), np.nan)
    return pd.DataFrame(kappa, wrong.columns, wrong.columns)


def together(wrong: pd.DataFrame) -> pd.DataFrame:
    """Return how many percent of the queries are failed by k of the N columns, k from 0 to N.

    ``independent`` is what it would be if every method failed at its own rate by itself.
    """
    count = len(wrong.columns)
    found = np.bincount(wrong.sum(axis=1), minlength=count + 1) / len(wrong)
    expected = np.ones(1)
    for rate in wrong.mean():
        expected = np.convolve(expected, [1 - rate, rate])
    return pd.DataFrame({"found": 100 * found, "independent": 100 * expected})


def pairs(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Return what two methods together gain over the better of them, one row for every two.

    The average is one of standardised scores, so that each has an equal say. Columns: ``first``,
    ``second``, ``kappa`` (agreement of their failures, text to image), ``better`` and
    ``worse`` (their rSum), ``average`` (of the ensemble), ``gain`` with ``low`` and ``high``
    (paired 95 % interval over images), and ``either``: percent of the captions that at least one
    gets right.
    """
    wrong = failures(runs, "t2i")
    kappa = agreement(wrong)
    level = {name: _standardised(run.scores) for name, run in runs.items()}
    hits = {name: retrieval.hits(scores) for name, scores in level.items()}
    rows, gaps = [], []
    for a, b in combinations(runs, 2):
        worse, best = sorted((hits[a][:, -1], hits[b][:, -1]), key=np.mean)
        average = retrieval.hits(retrieval.ensemble([level[a], level[b]]))[:, -1]
        row = {"first": a, "second": b, "kappa": kappa.loc[a, b]}
        row |= {"better": best.mean(), "worse": worse.mean(), "average": average.mean()}
        row["either"] = 100 * float((~(wrong[a] & wrong[b])).mean())
        rows.append(row)
        gaps.append(average - best)
    gap = np.stack(gaps, 1)
    low, high = interval(bootstrap_means(gap))
    return pd.DataFrame(rows).assign(gain=gap.mean(0), low=low, high=high)


def _standardised(scores: np.ndarray) -> np.ndarray:
    middle, scale = wrong_pairs(scores)
    return (scores.astype(float) - middle) / (scale or 1.0)


def hardest_captions(runs: Mapping[str, Run], split: Split, *, count: int = 8) -> pd.DataFrame:
    """Return the captions that most methods give the same wrong image, with what it lacks.

    Ordered by how many methods agree on that image; of equals the earlier caption first.
    """
    found = [queries(run.scores)["t2i"] for run in runs.values()]
    rivals = np.where([one.wrong for one in found], [one.rival for one in found], -1)  # [N, C]
    votes = np.stack([(rivals == row).sum(0) * (row >= 0) for row in rivals])
    first, captions = votes.argmax(0), np.argsort(-votes.max(0), kind="stable")[:count]
    images = rivals[first[captions], captions]
    captions, images = captions[images >= 0], images[images >= 0]
    shown = pd.DataFrame({"caption": [split.captions[c] for c in captions]})
    shown["its image"] = [split.ids[i] for i in split.caption_image[captions]]
    shown["wrong image"] = [split.ids[i] for i in images]
    shown["methods"] = [f"{votes[first[c], c]} of {len(runs)}" for c in captions]
    lacked = lacking(split, images, captions)
    if lacked is not None:
        shown["what the wrong image lacks"] = lacked
    shown.attrs["wrap"] = ["caption"]
    return shown


def readable_pairs(pairs: pd.DataFrame, *, count: int = 6) -> pd.DataFrame:
    """Return the pairs with the best averages as text."""
    rows = [
        {
            "methods": f"{row['first']} + {row['second']}",
            "rSum of either": f"{row['worse']:.1f}, {row['better']:.1f}",
            "averaged": f"{row['average']:.1f}",
            "gain over the better": f"{row['gain']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]",
            "agreement of errors": f"{row['kappa']:.2f}",
            "at least one is right (%)": f"{row['either']:.1f}",
        }
        for row in pairs.nlargest(count, "average").to_dict("records")
    ]
    return pd.DataFrame(rows)
