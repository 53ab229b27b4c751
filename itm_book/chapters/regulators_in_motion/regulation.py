"""What regulators do to attention and to pooling, over all pairs of a split.

`pair_records` has the passes of one pair; here every caption is read with its own
image, or with any other, in batches, and every query of every pass becomes a row of numbers.

Page: "Regulators in motion".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from itm_core.data.dataset import Split
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.evaluation.attention_measures import attention_threshold, of_each
from itm_core.evaluation.attention_quality import padded, truth
from itm_core.evaluation.scoring import longest_first, pad
from itm_core.experiments.prepare import encode, run_features
from itm_core.experiments.runs import Run
from itm_core.models import AttentionPass, DirectionOutput, Matcher
from itm_core.models.pairing import REGIONS, Matched
from itm_core.regulators import RAR, RCR, Regulator
from itm_core.settings import one_of

PAIRS_AT_ONCE = 256
Rows = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class RegulatorTrace:
    """Every pass over many pairs; K passes, S steps of RAR, Q queries of all P pairs in order.

    Attributes:
        direction: ``t2i``, where the queries are words, ``<start>`` and ``<end>`` included; or
            ``i2t``, where they are regions.
        pair: ``[Q]`` the caption that a query belongs to; place: its place among its words or
            regions.
        temperature: ``[K, Q]`` with which a query asked.
        change: ``[K, Q]`` root mean square distance of the channel factors from one.
        clamped: ``[K, Q]`` share of the channels held at -1 or 1; NaN where nothing corrected
            them.
        reach: ``[K, Q]`` effective number of fragments looked at, the exponential of the entropy.
        best: ``[K, Q]`` the largest weight.
        moved: ``[K, Q]`` share of the attention that lies elsewhere than in the first pass.
        f1, mass: ``[K, Q]`` attention F1 and the weight on what is relevant; NaN where there is
            nothing to find or the dataset does not know.
        share: ``[S, Q]`` RAR's weight times the number of queries: one is a plain mean.
        score: ``[P]`` of the pairs.
    """

    direction: str
    pair: np.ndarray
    place: np.ndarray
    temperature: np.ndarray
    change: np.ndarray
    clamped: np.ndarray
    reach: np.ndarray
    best: np.ndarray
    moved: np.ndarray
    f1: np.ndarray
    mass: np.ndarray
    share: np.ndarray
    score: np.ndarray

    @property
    def effective(self) -> np.ndarray:
        """``[S, P]`` effective number of queries that RAR pools, as a share of all of them.

        The exponential of the entropy of its weights; one is a plain mean.
        """
        count = np.bincount(self.pair)
        weights = self.share / count[self.pair]
        nats = -np.where(weights > 0, weights * np.log(np.maximum(weights, 1e-30)), 0)
        total = [np.bincount(self.pair, weights=row) for row in nats]
        return np.exp(np.reshape(total, (len(weights), len(count)))) / count

    def by_pair(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of ``values [Q]`` over the queries of each pair, ``[P]``; skips NaN."""
        known = ~np.isnan(values)
        total = np.bincount(self.pair[known], weights=values[known], minlength=len(self.score))
        count = np.bincount(self.pair[known], minlength=len(self.score))
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@torch.no_grad()
def motion(
    run: Run, split: Split, images: np.ndarray | None = None, *, matcher: Matcher | None = None
) -> RegulatorTrace:
    """Return what a run's matcher did to every caption of ``split`` and an image.

    Args:
        images: ``[C]`` the image that each caption is read with; by default its own.
        matcher: the run's, when it has been loaded before.

    Of a method that looks both ways the first direction is told. Raises `InputError` for a method
    that does not attend.
    """
    matcher = matcher or run.matcher()
    own = images is None
    images = split.caption_image if images is None else images
    known = truth(split) if own else None
    parts: list[Rows] = []
    score = np.zeros(len(split.captions))
    for chosen, pairing in _batches(run, split, images, matcher):
        reading = matcher.match(pairing)
        if not reading.directions:
            raise InputError("nothing attends here", found=run.recipe.name)
        score[chosen] = reading.score[:, 0].cpu()
        # a method that cuts the caption into other tokens is not what the truth is about
        fits = known is not None and all(
            len(known[0][c]) == n for c, n in zip(chosen, pairing.words.lens, strict=True)
        )
        relevant = padded([known[0][c] for c in chosen]) if known and fits else None
        look = reading.directions[0]
        parts.append(_rows(look, chosen, relevant))
    return RegulatorTrace(
        direction="t2i" if look.key_axis == REGIONS else "i2t", score=score, **_in_order(parts)
    )


def _batches(
    run: Run, split: Split, images: np.ndarray, matcher: Matcher
) -> Iterator[tuple[np.ndarray, Matched]]:
    """Yield captions of about one length with their images, as a pairing."""
    captions, features = encode(split, run.vocabulary), run_features(run, split)
    device = next(matcher.parameters()).device
    order = longest_first(captions)
    for start in range(0, len(order), PAIRS_AT_ONCE):
        chosen = order[start : start + PAIRS_AT_ONCE]
        unique, place = np.unique(images[chosen], return_inverse=True)
        regions = torch.from_numpy(np.array(features[unique], np.float32)).to(device)
        ids, lens = pad([captions[c] for c in chosen])
        encoded = matcher.regions(regions).take(torch.from_numpy(place))
        yield chosen, Matched(encoded, matcher.words(ids.to(device), lens))


def _rows(look: DirectionOutput, chosen: np.ndarray, relevant: Tensor | None) -> Rows:
    """Return the numbers of all real queries of a batch."""
    pairing, axis = look.passes[0].pairing, look.key_axis
    asks = (pairing.words if axis == REGIONS else pairing.regions).mask.cpu()  # [C, N]
    row, place = (x.numpy() for x in asks.nonzero(as_tuple=True))
    if relevant is not None:
        relevant = (relevant if axis == REGIONS else relevant.mT)[asks]
    keys = torch.full_like(pairing.words.lens, pairing.regions.vectors.shape[1])
    keys = (keys if axis == REGIONS else pairing.words.lens)[torch.from_numpy(row)]
    passes = [_weights(seen, asks) for seen in look.passes]
    each = [
        _of_pass(seen, weights, passes[0], asks) | _quality(weights, relevant, keys)
        for seen, weights in zip(look.passes, passes, strict=True)
    ]
    found = {name: np.stack([one[name] for one in each]) for name in each[0]}
    count = asks.sum(1).numpy()[row]
    steps = [_values(weights, axis, asks) * count for weights in look.pooling]
    share = np.reshape(steps, (len(steps), len(row)))
    return found | {"share": share, "pair": chosen[row], "place": place}


def _weights(seen: AttentionPass, asks: Tensor) -> Tensor:
    """Return the attention of the real queries, ``[q, N]``."""
    table = seen.weights[:, :, 0].float().cpu()
    return (table if seen.key_axis == REGIONS else table.mT)[asks]


def _values(x: Tensor, axis: int, asks: Tensor) -> np.ndarray:
    """Return the values of the real queries, laid out as weights are, as ``[q, ...]``."""
    return (x[:, :, 0, 0] if axis == REGIONS else x[:, 0, 0]).float().cpu()[asks].numpy()


def _of_pass(seen: AttentionPass, weights: Tensor, first: Tensor, asks: Tensor) -> Rows:
    control, queries = seen.control, len(weights)
    if isinstance(control.temperature, Tensor):
        temperature = _values(control.temperature, seen.key_axis, asks)
    else:
        temperature = np.full(queries, control.temperature)
    change, clamped = np.zeros(queries), np.full(queries, np.nan)
    if control.factors is not None:
        factors = _values(control.factors, seen.key_axis, asks)
        change = np.sqrt(np.square(factors - 1).mean(1))
        clamped = (np.abs(factors) >= 1).mean(1)
    return {
        "temperature": temperature,
        "change": change,
        "clamped": clamped,
        "reach": torch.special.entr(weights).sum(1).exp().numpy(),
        "best": weights.amax(1).numpy(),
        "moved": (weights - first).abs().sum(1).numpy() / 2,
    }


def _quality(weights: Tensor, relevant: Tensor | None, keys: Tensor) -> Rows:
    """Return F1 and mass of every query, as `attention_measures.measure` counts them."""
    nothing = np.full(len(weights), np.nan)
    if relevant is None:
        return {"f1": nothing, "mass": nothing}
    weights, some = weights.double(), relevant.any(1).numpy()
    f1 = of_each(weights, relevant, attention_threshold(keys))[2].numpy()
    mass = (weights * relevant).sum(1).numpy()
    return {"f1": np.where(some, f1, np.nan), "mass": np.where(some, mass, np.nan)}


def _in_order(parts: list[Rows]) -> Rows:
    """Return the batches as one, the queries of the first caption first."""
    joined = {name: np.concatenate([part[name] for part in parts], -1) for name in parts[0]}
    order = np.lexsort((joined["place"], joined["pair"]))
    return {name: values[..., order] for name, values in joined.items()}


def hardest_images(scores: np.ndarray) -> np.ndarray:
    """Return for every caption the wrong image with the largest score, ``[C]``.

    ``scores`` are ``[I, C]``; of equals the first.
    """
    wrong = scores.astype(float)  # a copy
    captions = np.arange(scores.shape[1])
    wrong[captions // retrieval.captions_per_image(scores), captions] = -np.inf
    return wrong.argmax(0)


# --- parts taken away -------------------------------------------------------------------------


def stopped(matcher: Matcher, steps: int) -> Matcher:
    """Return a copy of a matcher whose regulator stops after ``steps`` steps.

    Raises `InputError` for a matcher without a regulator, or more steps than it has.
    """
    found = deepcopy(matcher)
    for regulator in _regulators(found):
        if not 0 < steps <= regulator.steps:
            raise InputError("no such step", expected=f"1 to {regulator.steps}", found=steps)
        regulator.steps = steps
    return found


def with_uniform_pooling(matcher: Matcher) -> Matcher:
    """Return a copy of a matcher in which RAR gives every query the same weight.

    Raises `InputError` for a matcher without RAR.
    """
    found = deepcopy(matcher)
    for regulator in _regulators(found):
        if not isinstance(regulator, RAR):
            raise InputError("RAR's weights are not there", found=type(regulator).__name__)
        for weigh in regulator.weigh.parameters():
            weigh.data.zero_()
    return found


def without(matcher: Matcher, part: str, *, mean: float | None = None) -> Matcher:
    """Return a copy of a matcher whose RCR leaves one of its two parts alone.

    Args:
        part: ``factors`` of the channels, or ``temperature``.
        mean: what every query's temperature changes by instead, the same for all.

    Raises `InputError` for a matcher without RCR, or another part.
    """
    one_of("part of RCR", part, ("factors", "temperature"))
    found = deepcopy(matcher)
    for regulator in _regulators(found):
        if not isinstance(regulator, RCR):
            raise InputError("RCR is not there", found=type(regulator).__name__)
        for correction in regulator.correct:
            last = getattr(correction, part)[-1]
            last.weight.data.zero_()
            last.bias.data.fill_(mean or 0.0)
    return found


def mean_heat(own: RegulatorTrace) -> float:
    """Return by how much the temperature rises from the first pass to the last, on average."""
    return float((own.temperature[-1] - own.temperature[0]).mean())


def _regulators(matcher: Matcher) -> list[Regulator]:
    found = [part for part in matcher.modules() if isinstance(part, Regulator)]
    if not found:
        raise InputError("there is no regulator here", found=type(matcher).__name__)
    return found


@torch.no_grad()
def scores_on_the_way(
    run: Run, split: Split, images: Mapping[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """Return the score of each pair ``[C]`` as it would be if a regulator with RAR stopped early.

    ``images`` are named lists as those of `motion`; so is each result: for every name the scores
    with ``equal weights`` in the first step, and after ``step 1``, ``step 2`` and so on. The
    weights of the matcher are the trained ones throughout.
    """
    matcher = run.matcher()
    steps = range(1, run.recipe.regulator.steps + 1)
    models = {"equal weights": with_uniform_pooling(stopped(matcher, 1))}
    models |= {f"step {k}": stopped(matcher, k) for k in steps}
    found = {name: {step: np.zeros(len(split.captions)) for step in models} for name in images}
    for name, partners in images.items():
        for chosen, pairing in _batches(run, split, partners, matcher):
            for step, model in models.items():
                found[name][step][chosen] = model(pairing)[:, 0].cpu()
    return found
