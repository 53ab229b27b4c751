"""Measures of attention weights against relevant keys: precision, recall, F1 and others.

Functions take weights ``[M, N]`` of M queries over N keys, and which keys are relevant;
`attention_quality` gets both from a matcher and a split. No number depends on the order of the
keys: keys of equal weight count as the mean over all their orders.

Page: "What attention metrics can and cannot say".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from itm_core.errors import InputError
from itm_core.settings import not_negative, one_of, registered

AVERAGINGS: dict[str, Callable[[Tensor], Tensor]] = {  # of counts [3, M]
    "queries": lambda counts: counts,
    "pairs": lambda counts: counts.sum(1, keepdim=True),
}
MULTIPLES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 18.0)  # of the mean weight
CURVES = ("precision", "recall", "f1", "chance_f1")  # of `QueryMeasures.curve`


@dataclass(frozen=True, eq=False, kw_only=True)
class Quality:
    """Attention quality of one direction; shares in 0..1, averaged over queries; NaN without any.

    Attributes:
        precision, recall, f1: of the attended sets, by default at the mean weight.
        f1_of_means: F1 of the mean precision and the mean recall, which papers may mean instead.
        mass: attention weight on what is relevant.
        average_precision: of the ranking of keys by weight; the mean over orders of equal ones.
        pointing: how often the largest weight is on something relevant; of equals by their share.
        chance: how often a random key would be.
        queries: how many were averaged; dropped: how many have no relevant key.
        curve: ``[T, 3]`` precision, recall, F1 at `MULTIPLES` of the mean weight.
    """

    precision: float = math.nan
    recall: float = math.nan
    f1: float = math.nan
    f1_of_means: float = math.nan
    mass: float = math.nan
    average_precision: float = math.nan
    pointing: float = math.nan
    chance: float = math.nan
    queries: int
    dropped: int
    curve: np.ndarray

    def flat(self, prefix: str) -> dict[str, float]:
        """Return the numbers by name, ``<prefix>_<measure>``, without the curve."""
        return {
            f"{prefix}_{f.name}": getattr(self, f.name) for f in fields(self) if f.name != "curve"
        }


def precision_recall_f1(
    weights: Tensor, relevant: Tensor, threshold: Tensor | float, averaging: str = "queries"
) -> tuple[float, float, float]:
    """Return precision, recall and F1 of the attended sets.

    Attended are the keys with a weight of at least ``threshold``; none attended gives zero.
    Averaged over ``queries``, with equal weight, or over all ``pairs`` of a query and a key,
    where a query with many relevant keys counts more.

    Shapes: ``weights [M, N]``, ``relevant [M, N]`` bool with a True in every row.
    """
    counts = registered("averaging", averaging, AVERAGINGS)(
        set_counts(weights, relevant, threshold)
    )
    precision, recall, f1 = measures_of_counts(counts).mean(1)
    return float(precision), float(recall), float(f1)


def set_counts(weights: Tensor, relevant: Tensor, threshold: Tensor | float) -> Tensor:
    """Return how many keys are attended and relevant, attended, relevant: ``[3, M]``."""
    attended = weights >= threshold
    return torch.stack([x.sum(1) for x in (attended & relevant, attended, relevant)]).to(weights)


def measures_of_counts(counts: Tensor) -> Tensor:
    """Return precision, recall and F1 of counts ``[3, M]``, ``[3, M]``."""
    hits, attended, relevant = counts
    precision, recall = hits / attended.clamp_min(1), hits / relevant.clamp_min(1)
    f1 = 2 * precision * recall / (precision + recall).clamp_min(1e-12)
    return torch.stack([precision, recall, f1])


def attention_threshold(keys: Tensor | int, multiple: float = 1.0) -> Tensor:
    """Return the weight from which a key counts as attended: ``multiple`` of the mean weight.

    The mean weight of a query is one over its number of keys. The threshold lies a millionth
    below that, so that rounding cannot put equal weights below their own mean.

    Shapes: ``keys`` ``[M]``, the real keys of each query, gives ``[M, 1]``; a number ``[1]``.
    """
    return multiple * (1 - 1e-6) / torch.as_tensor(keys, dtype=torch.float64)[..., None]


def average_precision(weights: Tensor, relevant: Tensor) -> Tensor:
    """Return the average precision ``[M]`` of keys ranked by weight.

    Keys of equal weight have no order: the result is the mean over all orders of them, in closed
    form. Place j of a group of t tied keys, r of them relevant, below P larger keys, p of them
    relevant, adds ``r/t (p + 1 + (j - 1)(r - 1)/(t - 1)) / (P + j)``.

    Shapes: ``weights [M, N]``, ``relevant [M, N]`` bool; zero for a row without a True.

    >>> even = torch.full((1, 2), 0.5)
    >>> average_precision(even, torch.tensor([[True, False]])).item()  # first or second
    0.75
    """
    weights, order = weights.sort(dim=1, descending=True)
    hit = relevant.gather(1, order).double()
    group = torch.zeros_like(order)
    group[:, 1:] = (weights[:, 1:] != weights[:, :-1]).cumsum(1)

    def total(values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum over each key's group, and over the groups before it."""
        sums = torch.zeros_like(values).scatter_add_(1, group, values)
        return sums.gather(1, group), (sums.cumsum(1) - sums).gather(1, group)

    tied, above = total(torch.ones_like(hit))
    hits, hits_above = total(hit)
    rank = torch.arange(1, weights.shape[1] + 1, device=weights.device)
    earlier = (rank - above - 1) * (hits - 1) / (tied - 1).clamp_min(1)
    expected = hits / tied * (hits_above + 1 + earlier) / rank
    return expected.sum(1) / hit.sum(1).clamp_min(1)


def pointing(weights: Tensor, relevant: Tensor) -> Tensor:
    """Return the probability ``[M]`` that the largest weight is on a relevant key.

    Zero or one, or the fraction of relevant keys among those that share the largest weight.

    Shapes: ``weights [M, N]``, ``relevant [M, N]`` bool.
    """
    best = weights == weights.amax(1, keepdim=True)
    return (best & relevant).sum(1).double() / best.sum(1)


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryMeasures:
    """The measures of every query that has a relevant key, ``[M]`` each.

    Attributes:
        precision, recall, f1: of the attended set, the keys with at least the mean weight.
        mass, average_precision, pointing: as in `Quality`.
        chance: relevant keys over keys. The expected precision, mass and pointing of the same
            weights on keys in random order.
        chance_recall, chance_f1: the expected recall and F1 of an attended set of the same size,
            drawn at random.
        curve: ``[T, 4]`` means over the queries at `MULTIPLES` of the mean weight, columns as
            `CURVES`; NaN without queries.
    """

    precision: Tensor
    recall: Tensor
    f1: Tensor
    mass: Tensor
    average_precision: Tensor
    pointing: Tensor
    chance: Tensor
    chance_recall: Tensor
    chance_f1: Tensor
    curve: np.ndarray


def by_query(weights: Tensor, relevant: Tensor, keys: Tensor) -> QueryMeasures:
    """Return the measures of each query with a relevant key, in the order of the queries.

    Their means are those of `measure`. Arguments and errors as there.

    >>> w, g = torch.tensor([[0.7, 0.3], [0.5, 0.5]]), torch.tensor([[True, False], [False, True]])
    >>> by_query(w, g, torch.tensor([2, 2])).pointing.tolist()
    [1.0, 0.5]

    Page: "What attention metrics can and cannot say".
    """
    weights, relevant, keys, _ = _with_relevant_keys(weights, relevant, keys)
    at_mean = set_counts(weights, relevant, attention_threshold(keys))
    precision, recall, f1 = measures_of_counts(at_mean)
    at_multiples = (set_counts(weights, relevant, attention_threshold(keys, m)) for m in MULTIPLES)
    curve = [
        torch.cat([measures_of_counts(counts), chance_of_counts(counts, keys)[1:]]).mean(1).tolist()
        for counts in at_multiples
    ]
    chance_recall, chance_f1 = chance_of_counts(at_mean, keys)
    return QueryMeasures(
        precision=precision,
        recall=recall,
        f1=f1,
        mass=(weights * relevant).sum(1),
        average_precision=average_precision(weights, relevant),
        pointing=pointing(weights, relevant),
        chance=relevant.sum(1) / keys.double(),
        chance_recall=chance_recall,
        chance_f1=chance_f1,
        curve=np.array(curve),
    )


def chance_of_counts(counts: Tensor, keys: Tensor) -> Tensor:
    """Return the expected recall and F1 ``[2, M]`` of as many attended keys, drawn at random.

    Of N keys A are attended and G relevant. Precision and recall are proportional to the hits,
    and so is F1, ``2 hits / (A + G)``; A keys drawn at random have ``A G / N`` hits on average.

    Shapes: ``counts [3, M]`` of `set_counts`; ``keys [M]``.
    """
    _, attended, relevant = counts
    recall = attended / keys
    return torch.stack([recall, 2 * recall * relevant / (attended + relevant).clamp_min(1)])


def _with_relevant_keys(
    weights: Tensor, relevant: Tensor, keys: Tensor
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Return the arguments of `measure` for queries with relevant keys; how many have none.

    Raises `InputError` for weights of them that are NaN or infinite.
    """
    real = torch.arange(weights.shape[1], device=keys.device) < keys[:, None]
    # below every weight, so that padding does not tie with a real key of weight zero
    weights, relevant = weights.double().masked_fill(~real, -1), relevant & real
    some = relevant.any(1)
    wrong = int((~weights[some].isfinite()).any(1).sum())
    if wrong:
        raise InputError(
            "an attention weight is not a number",
            found=f"{wrong} of {int(some.sum())} queries",
            remedy="look for non-finite weights or features of the matcher",
        )
    return weights[some], relevant[some], keys[some], int((~some).sum())


def measure(
    weights: Tensor,
    relevant: Tensor,
    keys: Tensor,
    *,
    multiple: float = 1.0,
    fixed: float | None = None,
    averaging: str = "queries",
) -> Quality:
    """Return the quality of attention.

    Args:
        weights: ``[M, N]``, rows summing to one.
        relevant: ``[M, N]`` bool.
        keys: ``[M]`` how many of the N are real, the first ones; the others are padding.
        multiple: of the mean weight, from which a key counts as attended.
        fixed: a fixed threshold instead, the same for any number of keys.
        averaging: over ``queries`` or ``pairs``, see `precision_recall_f1`.

    Raises `InputError` for weights that are not numbers, and a negative ``fixed``.

    >>> w, g = torch.tensor([[0.7, 0.3, 0.0]]), torch.tensor([[True, False, False]])
    >>> measure(w, g, torch.tensor([3])).f1
    1.0

    Page: "What attention metrics can and cannot say".
    """
    one_of("averaging", averaging, AVERAGINGS)
    if fixed is not None:
        not_negative("fixed", fixed)
    weights, relevant, keys, dropped = _with_relevant_keys(weights, relevant, keys)
    if not len(weights):
        curve = np.full((len(MULTIPLES), 3), math.nan)
        return Quality(queries=0, dropped=dropped, curve=curve)
    threshold = attention_threshold(keys, multiple) if fixed is None else fixed
    precision, recall, f1 = precision_recall_f1(weights, relevant, threshold, averaging)
    thresholds = (attention_threshold(keys, m) for m in MULTIPLES)
    return Quality(
        precision=precision,
        recall=recall,
        f1=f1,
        f1_of_means=2 * precision * recall / max(precision + recall, 1e-12),
        mass=float((weights * relevant).sum(1).mean()),
        average_precision=float(average_precision(weights, relevant).mean()),
        pointing=float(pointing(weights, relevant).mean()),
        chance=float((relevant.sum(1) / keys).mean()),
        queries=len(weights),
        dropped=dropped,
        curve=np.array([precision_recall_f1(weights, relevant, t, averaging) for t in thresholds]),
    )
