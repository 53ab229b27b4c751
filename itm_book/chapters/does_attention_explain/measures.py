"""Agreement of attention with attributions, and of both with the ground truth.

Every measure is one number per query (a word of a caption), computed from its ranking of the
regions by attention or by an attribution. Means are over images, each image counting the same,
with 95 % bootstrap intervals over images, for one training seed.

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
from itm_book.chapters.does_attention_explain.attribution import Probe, Queries
from itm_book.tables.over_images import UNKNOWN, Estimate, mean_over_images
from itm_core.data.dataset import Split
from itm_core.evaluation import attention_measures
from itm_core.evaluation.statistics import kendall_of_rows
from itm_core.experiments.runs import Run

OCCLUSION, OVERLAPS, GRADIENTS = "occlusion", "occlusion with overlaps", "integrated gradients"
OTHER_WORD, ATTRIBUTIONS, UNTRAINED, BEFORE_AFTER = (
    "occlusion of another word",
    "occlusion vs gradients",
    "untrained model",
    "attention before vs after training",
)
COMPARISONS = (
    OCCLUSION,
    OVERLAPS,
    GRADIENTS,
    OTHER_WORD,
    ATTRIBUTIONS,
    UNTRAINED,
    BEFORE_AFTER,
)
RANDOM = "random order"
ORDERS = ("most attended first", "largest occlusion first", RANDOM, "least attended first")
RANDOM_ORDERS = 2
DELETION_RANK = "top-1 deletion rank"
SEED = 0


@dataclass(frozen=True, eq=False)
class AttributionAgreement:
    """Attention and attributions of a trained matcher, for the queries of some pairs.

    Attributes:
        image: ``[M]`` the image of each query.
        attention: ``[M, R]``.
        attributions: ``[M, R]`` by name: `OCCLUSION`, `OVERLAPS` (with boxes only), `GRADIENTS`.
        completeness_error: ``[M]`` of the integrated gradients.
        relevant: ``[M, R]`` bool, or None without ground truth.
        untrained_attention, untrained_occlusion: ``[M, R]`` of the same matcher before training.
        removed: ``[K]`` numbers of removed regions.
        deletion_scores: ``[orders, K, N]`` scores while regions are removed in each of `ORDERS`.
        score_margin: ``[N]`` score with the matching image minus the mean over the other images.
    """

    image: np.ndarray
    attention: np.ndarray
    attributions: Mapping[str, np.ndarray]
    completeness_error: np.ndarray
    relevant: np.ndarray | None
    untrained_attention: np.ndarray
    untrained_occlusion: np.ndarray
    removed: np.ndarray
    deletion_scores: np.ndarray
    score_margin: np.ndarray

    @property
    def occlusion(self) -> np.ndarray:
        """``[M, R]`` `OVERLAPS` where the dataset has boxes, else `OCCLUSION`."""
        return self.attributions.get(OVERLAPS, self.attributions[OCCLUSION])

    @cached_property
    def other_query(self) -> np.ndarray:
        """``[M]`` the index of another query of the same image; -1 where there is none."""
        other = np.full(len(self.image), -1)
        for image in np.unique(self.image):
            rows = np.flatnonzero(self.image == image)
            if len(rows) > 1:
                other[rows] = np.roll(rows, 1)
        return other


def attribution_agreement(
    run: Run, split: Split, *, pairs: int = 80, words: int = 3
) -> AttributionAgreement:
    """Return attention and attributions of a run's matcher on ``pairs`` pairs of a split.

    ``words`` is the largest number of queries per caption. ``split`` must be the one that the
    run's scores are of. Raises `InputError` for a method whose queries are not words.
    """
    captions = attribution.spread_captions(split, pairs)
    queries = attribution.content_queries(run.recipe, run.vocabulary, split, captions, words=words)
    probe = Probe(run.matcher(), queries)
    attention, mean_attention = attribution.attention(probe)
    occlusion = {OCCLUSION: attribution.occlusion(probe)}
    if queries.overlapping is not None:
        occlusion[OVERLAPS] = attribution.occlusion(probe, queries.overlapping)
    gradients, completeness_error = attribution.integrated_gradients(probe)
    attributions = {name: of_words.numpy() for name, (of_words, _) in occlusion.items()}
    score_drop = list(occlusion.values())[-1][1]
    removed = removal_counts(queries.regions)
    untrained = untrained_probe(run, queries)
    return AttributionAgreement(
        image=queries.image[queries.pair.numpy()],
        attention=attention.numpy(),
        attributions=attributions | {GRADIENTS: gradients.numpy()},
        completeness_error=completeness_error.numpy(),
        relevant=None if queries.relevant is None else queries.relevant.numpy(),
        untrained_attention=attribution.attention(untrained)[0].numpy(),
        untrained_occlusion=attribution.occlusion(untrained, queries.overlapping)[0].numpy(),
        removed=removed,
        deletion_scores=_deletion_scores(probe, mean_attention, score_drop, removed),
        score_margin=score_margin(run.scores, queries.image, queries.caption),
    )


def pair_attributions(run: Run, split: Split, caption: int) -> dict[str, np.ndarray]:
    """Return attention, occlusion and integrated gradients of one pair by name, ``[L, R]`` each.

    L tokens without ``<start>`` and ``<end>``; rows of words without content are zero.
    """
    queries = attribution.content_queries(run.recipe, run.vocabulary, split, [caption])
    probe = Probe(run.matcher(), queries)
    by_query = {
        "attention": attribution.attention(probe)[0],
        OCCLUSION if queries.overlapping is None else OVERLAPS: attribution.occlusion(
            probe, queries.overlapping
        )[0],
        GRADIENTS: attribution.integrated_gradients(probe)[0],
    }
    shape = (int(queries.lens[0]) - 2, queries.regions)
    maps = {name: np.zeros(shape, np.float32) for name in by_query}
    for name, values in by_query.items():
        maps[name][queries.word.numpy() - 1] = values.numpy()
    return maps


def untrained_probe(run: Run, queries: Queries) -> Probe:
    """Return the run's matcher with the initial weights of its training."""
    return Probe(run.initial_matcher(), queries)


def score_margin(scores: np.ndarray, image: np.ndarray, caption: np.ndarray) -> np.ndarray:
    """Return the scores of pairs minus the mean score of their caption with other images, ``[N]``.

    ``scores [I, C]``. NaN where there is no other image.
    """
    columns = scores[:, caption].astype(np.float64)
    matching = columns[image, np.arange(len(caption))]
    others = len(scores) - 1
    if not others:
        return np.full(len(caption), np.nan)
    return matching - (columns.sum(0) - matching) / others


def removal_counts(regions: int) -> np.ndarray:
    """Return the numbers of removed regions along a deletion curve, geometrically spaced.

    >>> removal_counts(36).tolist()
    [0, 1, 2, 4, 6, 9, 14, 22, 35]
    """
    counts = np.geomspace(1, regions - 1, 9).round().astype(int)
    return np.unique(np.concatenate([[0], counts]))


def _deletion_scores(
    probe: Probe, mean_attention: torch.Tensor, score_drop: torch.Tensor, removed: np.ndarray
) -> np.ndarray:
    generator = torch.Generator().manual_seed(SEED)
    random = [
        torch.rand(score_drop.shape, generator=generator).argsort(1) for _ in range(RANDOM_ORDERS)
    ]
    ranked = (mean_attention, score_drop, -mean_attention)
    orders = [*(descending_order(values, random[0]) for values in ranked), *random]
    most, largest, least, *of_random = attribution.deletion_scores(probe, orders, removed.tolist())
    return np.stack([most, largest, np.mean(of_random, axis=0), least])


def descending_order(values: torch.Tensor, tie_order: torch.Tensor) -> torch.Tensor:
    """Return the order of each row of ``values [N, R]``, largest first.

    ``tie_order [N, R]`` is the order of ties. A random one avoids the order of the file, in which
    a detector's most confident boxes are first, among the many zeros of hard attention.

    >>> descending_order(torch.tensor([[0, 1, 0, 2]]), torch.tensor([[2, 3, 1, 0]])).tolist()
    [[3, 1, 2, 0]]
    """
    ranked = values.gather(1, tie_order).argsort(dim=1, descending=True, stable=True)
    return tie_order.gather(1, ranked)


# --- measures of one query -----------------------------------------------------------------------


def topk_overlap(x: np.ndarray, y: np.ndarray, k: int = 5) -> np.ndarray:
    """Return the fraction of the ``k`` largest entries that rows of ``[M, R]`` share, ``[M]``.

    NaN where ties leave the k largest undefined, as for hard attention with k above 1.
    """
    top, defined = [], np.ones(len(x), bool)
    for values in (x, y):
        ordered = np.sort(values, axis=1)[:, ::-1]
        k = min(k, ordered.shape[1] - 1)
        top.append(values >= ordered[:, k - 1, None])
        defined &= ordered[:, k - 1] > ordered[:, k]
    return np.where(defined, (top[0] & top[1]).sum(1) / k, np.nan)


def top1_deletion_rank(weights: np.ndarray, drop: np.ndarray) -> np.ndarray:
    """Return the fraction of other regions with a smaller drop than the top-1 region, ``[M]``.

    0.5 by chance. Ties count half, and the mean is taken where several regions have the largest
    weight. ``[M, R]`` each.
    """
    below = (drop[:, None] < drop[:, :, None]).sum(2) + 0.5 * (
        (drop[:, None] == drop[:, :, None]).sum(2) - 1
    )
    top = weights == weights.max(1, keepdims=True)
    return (below * top).sum(1) / top.sum(1) / (drop.shape[1] - 1)


def pointing(weights: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return whether the largest weight of each row is on a relevant region, as a probability.

    See `attention_measures.pointing`; NaN without relevant regions.
    """
    hit = attention_measures.pointing(torch.from_numpy(weights), torch.from_numpy(relevant))
    return np.where(relevant.any(1), hit.numpy(), np.nan)


def average_precision(weights: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Return the average precision of each row's ranking; NaN without relevant regions.

    Ties count as the mean over their orders, see `attention_measures.average_precision`: hard
    attention on one region does not rank the others, and stays near chance.

    >>> weights, relevant = np.array([[0.5, 0.3, 0.3]]), np.array([[True, False, True]])
    >>> average_precision(weights, relevant).round(3).tolist()
    [0.917]
    """
    precision = attention_measures.average_precision(
        torch.from_numpy(weights), torch.from_numpy(relevant)
    )
    return np.where(relevant.any(1), precision.numpy(), np.nan)


LOCALISATION = {"pointing": pointing, "average precision": average_precision}


# --- summaries of one method ---------------------------------------------------------------------


def rank_agreement(agreement: AttributionAgreement) -> dict[str, np.ndarray]:
    """Return Kendall's tau-b of rankings of the regions, ``[M]`` for each of `COMPARISONS`.

    Attention with every attribution. For comparison: attention with the occlusion of another word
    of the same caption (NaN where there is none); occlusion with gradients; attention with
    occlusion of the untrained matcher; attention after training with that before.
    """
    attention, occlusion = agreement.attention, agreement.occlusion
    taus = {
        name: kendall_of_rows(attention, values) for name, values in agreement.attributions.items()
    }
    other_word = kendall_of_rows(attention, occlusion[agreement.other_query])
    taus[OTHER_WORD] = np.where(agreement.other_query < 0, np.nan, other_word)
    taus[ATTRIBUTIONS] = kendall_of_rows(occlusion, agreement.attributions[GRADIENTS])
    taus[UNTRAINED] = kendall_of_rows(agreement.untrained_attention, agreement.untrained_occlusion)
    taus[BEFORE_AFTER] = kendall_of_rows(attention, agreement.untrained_attention)
    return taus


def tau_differences(agreement: AttributionAgreement) -> dict[str, Estimate]:
    """Return differences of Kendall's tau, paired by query.

    Occlusion with overlaps minus without (only with boxes); the occlusion of the word itself
    minus that of another word; the trained matcher minus the untrained one.
    """
    taus = rank_agreement(agreement)
    main = taus.get(OVERLAPS, taus[OCCLUSION])
    differences = {"with overlaps - without": main - taus[OCCLUSION]} if OVERLAPS in taus else {}
    differences["same word - another word"] = main - taus[OTHER_WORD]
    differences["trained - untrained"] = main - taus[UNTRAINED]
    return {name: mean_over_images(values, agreement.image) for name, values in differences.items()}


def relative_completeness_error(agreement: AttributionAgreement) -> float:
    """Return the summed absolute completeness error of the gradients over their absolute sum."""
    size = np.abs(agreement.attributions[GRADIENTS]).sum()
    return float(np.abs(agreement.completeness_error).sum() / size)


def top_region_agreement(agreement: AttributionAgreement) -> dict[str, Estimate]:
    """Return the agreement of attention and occlusion on the top regions, as fractions.

    ``top 1`` and ``top 5``: `topk_overlap` (chance is k / R); `DELETION_RANK`: chance is 0.5.
    """
    attention, occlusion = agreement.attention, agreement.occlusion
    values = {f"top {k}": topk_overlap(attention, occlusion, k) for k in (1, 5)}
    values[DELETION_RANK] = top1_deletion_rank(attention, occlusion)
    return {name: mean_over_images(of_query, agreement.image) for name, of_query in values.items()}


def localisation(agreement: AttributionAgreement, measure: str = "pointing") -> dict[str, Estimate]:
    """Return ``pointing`` or ``average precision`` of attention and of every attribution.

    Fractions, over words with relevant regions; empty without ground truth. ``chance`` is
    pointing at a random region.
    """
    relevant = agreement.relevant
    if relevant is None or not relevant.any():
        return {}
    maps = {"attention": agreement.attention, **agreement.attributions}
    values = {name: LOCALISATION[measure](map_, relevant) for name, map_ in maps.items()}
    if measure == "pointing":
        values["chance"] = np.where(relevant.any(1), relevant.mean(1), np.nan)
    return {name: mean_over_images(of_query, agreement.image) for name, of_query in values.items()}


def pointing_difference(agreement: AttributionAgreement) -> Estimate:
    """Return pointing of attention minus that of occlusion; NaN without ground truth."""
    if agreement.relevant is None:
        return UNKNOWN
    attention, occlusion = (
        pointing(values, agreement.relevant)
        for values in (agreement.attention, agreement.occlusion)
    )
    return mean_over_images(attention - occlusion, agreement.image)


def deletion_curve(agreement: AttributionAgreement) -> np.ndarray:
    """Return the score drop along each order in units of the mean score margin, ``[orders, K, N]``.

    NaN where the mean score margin is not above zero.
    """
    margin = float(np.mean(agreement.score_margin))
    scores = agreement.deletion_scores
    return (scores[:, :1] - scores) / (margin if margin > 0 else np.nan)


def deletion_areas(agreement: AttributionAgreement) -> dict[str, Estimate]:
    """Return the mean of the deletion curve of every order, over the number of removed regions.

    The random order in absolute terms, the others minus it.
    """
    removed = agreement.removed
    area = np.trapezoid(deletion_curve(agreement), removed, axis=1) / removed[-1]
    by_order = dict(zip(ORDERS, area, strict=True))
    random, pairs = by_order[RANDOM], np.arange(area.shape[1])
    relative = {
        name: values if name == RANDOM else values - random for name, values in by_order.items()
    }
    return {name: mean_over_images(values, pairs) for name, values in relative.items()}
