"""How far attention agrees with attributions, and which of them is closer to the truth.

Every measure is one number for each query (a word of a caption); a query's regions are ranked by
attention and by an attribution, and the two rankings are compared. Means are over images, the
words of one image counting as one, with a 95 % bootstrap interval over images.

Letters: M queries, R regions, N pairs.

Page: "Does attention explain?".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from itm_book.chapters.does_attention_explain import attribution
from itm_book.chapters.does_attention_explain.attribution import Queries, Subject
from itm_core.data.dataset import Split
from itm_core.evaluation import attention_measures
from itm_core.experiments.prepare import build
from itm_core.experiments.runs import Run

LEFT_OUT, COPIES, GRADIENTS = "left out", "left out with near copies", "integrated gradients"
ORDERS = ("most attended first", "largest loss first", "at random", "least attended first")
RANDOM_ORDERS = 2
SEED = 0


@dataclass(frozen=True, eq=False)
class Looks:
    """What a finished matcher attends to, and what its shares rest on.

    Attributes:
        image: ``[M]`` whose word a query is.
        attention: ``[M, R]``.
        attributions: ``[M, R]`` by name: `LEFT_OUT`, `COPIES` (with boxes alone), `GRADIENTS`.
        missed: ``[M]`` what the integrated gradients fail to add up to.
        relevant: ``[M, R]`` bool, or None where the dataset does not know.
        blank, blank_lost: attention and the loss without a region, both ``[M, R]``, of the same
            matcher before training.
        removed: how many regions are gone, ``[K]``.
        curves: ``[orders, K, N]`` scores while regions go in each of `ORDERS`.
        lead: ``[N]`` how far the own image's score lies above the mean of the other images'.
    """

    image: np.ndarray
    attention: np.ndarray
    attributions: Mapping[str, np.ndarray]
    missed: np.ndarray
    relevant: np.ndarray | None
    blank: np.ndarray
    blank_lost: np.ndarray
    removed: np.ndarray
    curves: np.ndarray
    lead: np.ndarray

    @property
    def occlusion(self) -> str:
        """The name of the attribution that verdicts go by: with near copies where boxes are."""
        return COPIES if COPIES in self.attributions else LEFT_OUT

    @cached_property
    def other(self) -> np.ndarray:
        """``[M]`` another query of the same image; -1 for a word that stands alone."""
        found = np.full(len(self.image), -1)
        for image in np.unique(self.image):
            rows = np.flatnonzero(self.image == image)
            if len(rows) > 1:
                found[rows] = np.roll(rows, 1)
        return found


def looks(run: Run, split: Split, *, pairs: int = 80, words: int = 3) -> Looks:
    """Return what a run's matcher looks at and what it rests on, on ``pairs`` pairs of a split.

    ``words`` is how many of each caption are asked about at most. ``split`` must be the one that
    the run's scores are of. Raises `InputError` for a method in which no word asks.
    """
    captions = attribution.spread(split, pairs)
    asked = attribution.queries(run.recipe, run.vocabulary, split, captions, words=words)
    subject = Subject(run.matcher(), asked)
    attention, overall = attribution.attention(subject)
    found = {LEFT_OUT: attribution.left_out(subject)}
    if asked.near is not None:
        found[COPIES] = attribution.left_out(subject, asked.near)
    gradients, missed = attribution.gradients(subject)
    attributions = {name: one.numpy() for name, (one, _) in found.items()}
    loss = list(found.values())[-1][1]
    removed = steps(asked.regions)
    before = untrained(run, asked)
    return Looks(
        image=asked.image[asked.pair.numpy()],
        attention=attention.numpy(),
        attributions=attributions | {GRADIENTS: gradients.numpy()},
        missed=missed.numpy(),
        relevant=None if asked.relevant is None else asked.relevant.numpy(),
        blank=attribution.attention(before)[0].numpy(),
        blank_lost=attribution.left_out(before, asked.near)[0].numpy(),
        removed=removed,
        curves=_curves(subject, overall, loss, removed),
        lead=lead(run.scores, asked.image, asked.caption),
    )


def maps_of_pair(run: Run, split: Split, caption: int) -> dict[str, np.ndarray]:
    """Return attention, occlusion and gradients of one pair, ``[L, R]`` each, by name.

    L tokens without ``<start>`` and ``<end>``; rows of words without content are zero.
    """
    asked = attribution.queries(run.recipe, run.vocabulary, split, [caption])
    subject = Subject(run.matcher(), asked)
    lost, _ = attribution.left_out(subject, asked.near)
    found = {
        "attention": attribution.attention(subject)[0],
        LEFT_OUT if asked.near is None else COPIES: lost,
        GRADIENTS: attribution.gradients(subject)[0],
    }
    maps = {name: np.zeros((int(asked.lens[0]) - 2, asked.regions), np.float32) for name in found}
    for name, values in found.items():
        maps[name][asked.word.numpy() - 1] = values.numpy()
    return maps


def untrained(run: Run, asked: Queries) -> Subject:
    """Return the run's matcher with the weights that its training started from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)  # as a run does
        return Subject(build(run.recipe, run.config, run.vocabulary).eval(), asked)


def lead(scores: np.ndarray, image: np.ndarray, caption: np.ndarray) -> np.ndarray:
    """Return how far pairs ``[N]`` score above their captions with all other images, on average.

    NaN where there is no other image. ``scores [I, C]``.
    """
    columns = scores[:, caption].astype(np.float64)
    own = columns[image, np.arange(len(caption))]
    others = len(scores) - 1
    return own - (columns.sum(0) - own) / others if others else np.full(len(caption), np.nan)


def steps(regions: int) -> np.ndarray:
    """Return how many regions are gone along a curve: none, few in small steps, all but one.

    >>> steps(36).tolist()
    [0, 1, 2, 4, 6, 9, 14, 22, 35]
    """
    some = np.geomspace(1, regions - 1, 9).round().astype(int)
    return np.unique(np.concatenate([[0], some]))


def _curves(
    subject: Subject, overall: torch.Tensor, loss: torch.Tensor, removed: np.ndarray
) -> np.ndarray:
    draw = torch.Generator().manual_seed(SEED)
    drawn = [torch.rand(loss.shape, generator=draw).argsort(1) for _ in range(RANDOM_ORDERS)]
    orders = [*(largest_first(one, drawn[0]) for one in (overall, loss, -overall)), *drawn]
    most, largest, least, *drawn = attribution.deletion(subject, orders, removed.tolist())
    return np.stack([most, largest, np.mean(drawn, axis=0), least])


def largest_first(values: torch.Tensor, among_equals: torch.Tensor) -> torch.Tensor:
    """Return the order of each row of ``values [N, R]``, largest first.

    ``among_equals [N, R]`` is an order too, by which equals go. A random one keeps the order of
    the file, in which a detector's surest boxes come first, out of a hard choice's many zeros.

    >>> largest_first(torch.tensor([[0, 1, 0, 2]]), torch.tensor([[2, 3, 1, 0]])).tolist()
    [[3, 1, 2, 0]]
    """
    ranked = values.gather(1, among_equals).argsort(dim=1, descending=True, stable=True)
    return among_equals.gather(1, ranked)


# --- measures, one number for each query ---------------------------------------------------------


def overlap(x: np.ndarray, y: np.ndarray, count: int = 5) -> np.ndarray:
    """Return the share of the ``count`` largest that two rows of ``[M, R]`` have in common.

    NaN where a tie leaves open which these are, as hard attention does for more than one.
    """
    chosen, known = [], np.ones(len(x), bool)
    for one in (x, y):
        ordered = np.sort(one, axis=1)[:, ::-1]
        count = min(count, ordered.shape[1] - 1)
        chosen.append(one >= ordered[:, count - 1, None])
        known &= ordered[:, count - 1] > ordered[:, count]
    return np.where(known, (chosen[0] & chosen[1]).sum(1) / count, np.nan)


def top1_deletion_rank(weights: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Return the share of the other regions whose loss is smaller than the most weighed one's.

    One half by chance; ties count half, and the mean is taken where several regions have the
    largest weight. ``[M, R]`` each.
    """
    below = (lost[:, None] < lost[:, :, None]).sum(2) + 0.5 * (
        (lost[:, None] == lost[:, :, None]).sum(2) - 1
    )
    best = weights == weights.max(1, keepdims=True)
    return (below * best).sum(1) / best.sum(1) / (lost.shape[1] - 1)


def pointing(weights: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return the probability that the largest weight is on something relevant, of each row.

    See `attention_measures.pointing`; NaN where nothing is relevant.
    """
    found = attention_measures.pointing(torch.from_numpy(weights), torch.from_numpy(relevant))
    return np.where(relevant.any(1), found.numpy(), np.nan)


def precision(weights: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return the average precision of each row's ranking; NaN where nothing is relevant.

    Equals count as the mean over their orders, see `attention_measures.average_precision`: a hard
    choice of one region and nothing else is no ranking, and stays near chance.

    >>> precision(np.array([[0.5, 0.3, 0.3]]), np.array([[True, False, True]])).round(3).tolist()
    [0.917]
    """
    ranked = attention_measures.average_precision
    found = ranked(torch.from_numpy(weights), torch.from_numpy(relevant))
    return np.where(relevant.any(1), found.numpy(), np.nan)
