"""Measures of regulated attention and pooling over all pairs of a split.

`itm_book.pairs.pair_records` has the passes of one pair. Here every caption of a split is scored
with its matching image, or with another one, in batches, and each query of each pass becomes one
entry of an array.

Page: "Regulators in motion".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from itm_book.datasets.run_features import run_features
from itm_core.data.dataset import Split
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.evaluation.attention_measures import (
    attention_threshold,
    measures_of_counts,
    set_counts,
)
from itm_core.evaluation.attention_quality import truth
from itm_core.evaluation.scoring import encode_regions, longest_first, pad
from itm_core.experiments.prepare import encode
from itm_core.experiments.runs import Run
from itm_core.models import AttentionPass, DirectionOutput, Matcher
from itm_core.models.pairing import REGIONS, Matched
from itm_core.regulators import RAR, RCR, Regulator
from itm_core.settings import one_of

PAIRS_PER_BATCH = 256
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class RegulatorTrace:
    """Every pass over P pairs: K passes, S pooling steps of RAR, Q queries, ordered by pair.

    Attributes:
        direction: ``t2i``: queries are words, ``<start>`` and ``<end>`` included; ``i2t``:
            queries are regions.
        pair: ``[Q]`` the caption that a query belongs to.
        position: ``[Q]`` the index of a query among the words or regions of its pair.
        temperature: ``[K, Q]`` temperature of the softmax.
        factor_change: ``[K, Q]`` root mean square distance of the channel factors from 1.
        clamped: ``[K, Q]`` fraction of channel factors at -1 or 1; NaN without channel factors.
        effective_keys: ``[K, Q]`` exponential of the entropy of the attention.
        max_weight: ``[K, Q]`` largest attention weight.
        shift: ``[K, Q]`` total variation distance of the attention from that of the first pass.
        f1: ``[K, Q]`` attention F1; NaN without relevant regions or without ground truth.
        mass: ``[K, Q]`` attention weight on relevant regions; NaN as for ``f1``.
        pooling: ``[S, Q]`` RAR's weight times the number of queries; 1 is mean pooling.
        score: ``[P]``.
    """

    direction: str
    pair: np.ndarray
    position: np.ndarray
    temperature: np.ndarray
    factor_change: np.ndarray
    clamped: np.ndarray
    effective_keys: np.ndarray
    max_weight: np.ndarray
    shift: np.ndarray
    f1: np.ndarray
    mass: np.ndarray
    pooling: np.ndarray
    score: np.ndarray

    @property
    def effective_queries(self) -> np.ndarray:
        """``[S, P]`` effective number of queries that RAR pools, as a fraction of all queries.

        The exponential of the entropy of its weights; 1 is mean pooling.
        """
        count = np.bincount(self.pair)
        weights = self.pooling / count[self.pair]
        nats = -np.where(weights > 0, weights * np.log(np.maximum(weights, 1e-30)), 0)
        entropy = [np.bincount(self.pair, weights=row) for row in nats]
        return np.exp(np.reshape(entropy, (len(weights), len(count)))) / count

    @property
    def has_quality(self) -> bool:
        """Whether the dataset has ground truth for F1 and mass."""
        return not np.isnan(self.f1).all()

    def by_pair(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of ``values [Q]`` over the queries of each pair, ``[P]``; skips NaN."""
        valid = ~np.isnan(values)
        total = np.bincount(self.pair[valid], weights=values[valid], minlength=len(self.score))
        count = np.bincount(self.pair[valid], minlength=len(self.score))
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@torch.no_grad()
def regulator_trace(
    run: Run, split: Split, images: np.ndarray | None = None, *, matcher: Matcher | None = None
) -> RegulatorTrace:
    """Return every pass of a run's matcher over each caption of ``split`` and one image.

    Of a matcher with two directions the first one is traced.

    Args:
        images: ``[C]`` the image scored with each caption; by default the matching one. Attention
            quality is measured for matching images only.
        matcher: replaces the run's own, for example after `ablate`.

    Raises `InputError` for a method without attention.
    """
    matcher = matcher or run.matcher()
    ground_truth = truth(split) if images is None else None
    images = split.caption_image if images is None else images
    parts: list[Arrays] = []
    score = np.zeros(len(split.captions))
    for captions, pairing in _batches(run, split, images, matcher):
        match = matcher.match(pairing)
        if not match.directions:
            raise InputError("the method has no attention to trace", found=run.recipe.name)
        score[captions] = match.score[:, 0].cpu()
        # ground truth is per token of the dataset, which other tokenizers do not reproduce
        same_tokens = ground_truth is not None and all(
            len(ground_truth[0][c]) == n for c, n in zip(captions, pairing.words.lens, strict=True)
        )
        relevant = None
        if ground_truth and same_tokens:
            relevant, _ = pad([ground_truth[0][c] for c in captions], bool)
            relevant = relevant[:, :, : pairing.regions.vectors.shape[1]]
        output = match.directions[0]
        parts.append(_batch_arrays(output, captions, relevant))
    direction = "t2i" if output.key_axis == REGIONS else "i2t"
    return RegulatorTrace(direction=direction, score=score, **_in_order(parts))


def _batches(
    run: Run, split: Split, images: np.ndarray, matcher: Matcher
) -> Iterator[tuple[np.ndarray, Matched]]:
    """Yield captions of similar length, paired with their images."""
    captions, features = encode(split, run.vocabulary), run_features(run, split)
    device = next(matcher.parameters()).device
    order = longest_first(captions)
    for start in range(0, len(order), PAIRS_PER_BATCH):
        rows = order[start : start + PAIRS_PER_BATCH]
        unique, place = np.unique(images[rows], return_inverse=True)
        ids, lens = pad([captions[c] for c in rows])
        encoded = encode_regions(matcher, features[unique]).take(torch.from_numpy(place))
        yield rows, Matched(encoded, matcher.words(ids.to(device), lens))


def _batch_arrays(output: DirectionOutput, captions: np.ndarray, relevant: Tensor | None) -> Arrays:
    """Return the measures of all queries of a batch, padding left out."""
    pairing, axis = output.passes[0].pairing, output.key_axis
    valid = (pairing.words if axis == REGIONS else pairing.regions).mask.cpu()  # [C, N]
    row, position = (x.numpy() for x in valid.nonzero(as_tuple=True))
    if relevant is not None:
        relevant = (relevant if axis == REGIONS else relevant.mT)[valid]
    keys = (pairing.regions if axis == REGIONS else pairing.words).lens[torch.from_numpy(row)]
    weights = [_query_weights(attention, valid) for attention in output.passes]
    passes = [
        _pass_arrays(attention, of_pass, weights[0], valid) | _quality(of_pass, relevant, keys)
        for attention, of_pass in zip(output.passes, weights, strict=True)
    ]
    stacked = {name: np.stack([arrays[name] for arrays in passes]) for name in passes[0]}
    count = valid.sum(1).numpy()[row]
    steps = [_query_values(pooling, axis, valid) * count for pooling in output.pooling]
    pooling = np.reshape(steps, (len(steps), len(row)))
    return stacked | {"pooling": pooling, "pair": captions[row], "position": position}


def _query_weights(attention: AttentionPass, valid: Tensor) -> Tensor:
    """Return the attention weights of the ``q`` valid queries over all keys, ``[q, N]``."""
    table = attention.weights[:, :, 0].float().cpu()
    return (table if attention.key_axis == REGIONS else table.mT)[valid]


def _query_values(x: Tensor, axis: int, valid: Tensor) -> np.ndarray:
    """Return the entries of the ``q`` valid queries of a tensor laid out as weights are."""
    return (x[:, :, 0, 0] if axis == REGIONS else x[:, 0, 0]).float().cpu()[valid].numpy()


def _pass_arrays(attention: AttentionPass, weights: Tensor, first: Tensor, valid: Tensor) -> Arrays:
    control, queries = attention.control, len(weights)
    if isinstance(control.temperature, Tensor):
        temperature = _query_values(control.temperature, attention.key_axis, valid)
    else:
        temperature = np.full(queries, control.temperature)
    factor_change, clamped = np.zeros(queries), np.full(queries, np.nan)
    if control.factors is not None:
        factors = _query_values(control.factors, attention.key_axis, valid)
        factor_change = np.sqrt(np.square(factors - 1).mean(1))
        clamped = (np.abs(factors) >= 1).mean(1)
    return {
        "temperature": temperature,
        "factor_change": factor_change,
        "clamped": clamped,
        "effective_keys": torch.special.entr(weights).sum(1).exp().numpy(),
        "max_weight": weights.amax(1).numpy(),
        "shift": (weights - first).abs().sum(1).numpy() / 2,
    }


def _quality(weights: Tensor, relevant: Tensor | None, keys: Tensor) -> Arrays:
    """Return F1 and mass of every query, as `attention_measures.measure` counts them."""
    unknown = np.full(len(weights), np.nan)
    if relevant is None:
        return {"f1": unknown, "mass": unknown}
    weights, has_relevant = weights.double(), relevant.any(1).numpy()
    f1 = measures_of_counts(set_counts(weights, relevant, attention_threshold(keys)))[2].numpy()
    mass = (weights * relevant).sum(1).numpy()
    return {"f1": np.where(has_relevant, f1, np.nan), "mass": np.where(has_relevant, mass, np.nan)}


def _in_order(parts: list[Arrays]) -> Arrays:
    """Return the batches joined, ordered by caption and position."""
    joined = {name: np.concatenate([part[name] for part in parts], -1) for name in parts[0]}
    order = np.lexsort((joined["position"], joined["pair"]))
    return {name: values[..., order] for name, values in joined.items()}


def hard_negatives(scores: np.ndarray, caption_image: np.ndarray | None = None) -> np.ndarray:
    """Return for every caption the negative image with the largest score, ``[C]``.

    ``scores`` are ``[I, C]``, ``caption_image`` as for `retrieval.ranks`; of ties the first.
    """
    negative = scores.astype(float)  # a copy
    of_caption = retrieval.image_of_captions(scores, caption_image)
    negative[of_caption, np.arange(scores.shape[1])] = -np.inf
    return negative.argmax(0)


# --- ablation ---------------------------------------------------------------------------------


def truncate_steps(matcher: Matcher, steps: int) -> Matcher:
    """Return a copy of a matcher whose regulator stops after ``steps`` steps.

    Raises `InputError` for a matcher without a regulator, or more steps than it has.
    """
    ablated = deepcopy(matcher)
    for regulator in _regulators(ablated):
        if not 0 < steps <= regulator.steps:
            raise InputError("steps out of range", expected=f"1 to {regulator.steps}", found=steps)
        regulator.steps = steps
    return ablated


def with_uniform_pooling(matcher: Matcher) -> Matcher:
    """Return a copy of a matcher in which RAR weights all queries equally.

    Raises `InputError` for a matcher without RAR.
    """
    ablated = deepcopy(matcher)
    for regulator in _regulators(ablated):
        if not isinstance(regulator, RAR):
            raise InputError(
                "the regulator has no pooling weights",
                expected="RAR or RCAR",
                found=type(regulator).__name__,
            )
        for weigh in regulator.weigh.parameters():
            weigh.data.zero_()
    return ablated


def ablate(matcher: Matcher, part: str, *, mean: float | None = None) -> Matcher:
    """Return a copy of a matcher with one of the two corrections of RCR switched off.

    Args:
        part: ``factors`` (of the channels) or ``temperature``.
        mean: a constant correction of every query instead of none.

    Raises `InputError` for a matcher without RCR, or another ``part``.
    """
    one_of("part of RCR", part, ("factors", "temperature"))
    ablated = deepcopy(matcher)
    for regulator in _regulators(ablated):
        if not isinstance(regulator, RCR):
            raise InputError(
                "the regulator has no correction of the attention",
                expected="RCR or RCAR",
                found=type(regulator).__name__,
            )
        for correction in regulator.correct:
            last = getattr(correction, part)[-1]
            last.weight.data.zero_()
            last.bias.data.fill_(mean or 0.0)
    return ablated


def mean_temperature_rise(trace: RegulatorTrace) -> float:
    """Return the mean change of the temperature from the first pass to the last."""
    return float((trace.temperature[-1] - trace.temperature[0]).mean())


def _regulators(matcher: Matcher) -> list[Regulator]:
    regulators = [part for part in matcher.modules() if isinstance(part, Regulator)]
    if not regulators:
        raise InputError(
            "the matcher has no regulator",
            expected="a recipe with a regulator",
            found=type(matcher).__name__,
        )
    return regulators


@torch.no_grad()
def truncated_scores(
    run: Run, split: Split, images: Mapping[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """Return the scores ``[C]`` of a trained matcher whose RAR is stopped early.

    ``images`` are named arrays as in `regulator_trace`. For each name: the scores with ``uniform
    weights`` after one step, and after ``step 1``, ``step 2`` and so on.
    """
    matcher = run.matcher()
    steps = range(1, run.recipe.regulator.steps + 1)
    models = {"uniform weights": with_uniform_pooling(truncate_steps(matcher, 1))}
    models |= {f"step {k}": truncate_steps(matcher, k) for k in steps}
    scores = {name: {step: np.zeros(len(split.captions)) for step in models} for name in images}
    for name, partners in images.items():
        for captions, pairing in _batches(run, split, partners, matcher):
            for step, model in models.items():
                scores[name][step][captions] = model(pairing)[:, 0].cpu()
    return scores
