"""Reference numbers of the evaluation: ranks, recalls, folds and ensembles of score matrices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from itm_core import retrieval
from itm_core.reference.format import VALUE_LIMIT, Difference, Stored

FOLDS = 5


def check_evaluation(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of ranks and recalls on a given score matrix.

    Where scores are tied the release's ranks depend on the machine that ran it: the stored
    value is then compared with the interval between our optimistic and pessimistic ranks, and
    stored bounds are compared with ours exactly.
    """
    scores = stored.arrays["inputs/sims"].astype(np.float64)
    per_image = scores.shape[1] // len(scores)
    found = {ties: _evaluated(scores, per_image, ties) for ties in ("optimistic", "pessimistic")}
    best, worst = found["optimistic"], found["pessimistic"]
    for name, value in stored.folder("bounds").items():
        what, ties = name.rsplit("_", 1)
        if what in best and ties in found:
            yield Difference(f"bounds/{name}", _outside(value, found[ties][what]), VALUE_LIMIT)
    for name, value in stored.folder("outputs").items():
        what = name.split("@")[0]
        if what in best:
            yield Difference(name, _outside(value, best[what], worst[what]), VALUE_LIMIT)


def _evaluated(scores: np.ndarray, per_image: int, ties: str) -> dict[str, np.ndarray]:
    ranked = retrieval.ranks(scores, captions_per_image=per_image, ties=ties, nan="first")
    numbers = retrieval.metrics(scores, captions_per_image=per_image, ties=ties, nan="first")
    shown = np.where(np.isnan(scores), np.inf, scores)
    return {
        "i2t_ranks": ranked.i2t,
        "t2i_ranks": ranked.t2i,
        "rsum": np.array(numbers.rsum),
        "i2t": np.array(numbers.i2t.values()),
        "t2i": np.array(numbers.t2i.values()),
        "i2t_top1": shown.argmax(1) if ties == "optimistic" else _last_best(shown),
        "t2i_top1": shown.argmax(0) if ties == "optimistic" else _last_best(shown.T),
    }


def _last_best(scores: np.ndarray) -> np.ndarray:
    return scores.shape[1] - 1 - scores[:, ::-1].argmax(1)


def _outside(value: np.ndarray, one: np.ndarray, two: np.ndarray | None = None) -> float:
    """Return how far ``value`` lies outside the interval of the two (either may be larger).

    Relative for numbers above one, such as percentages; ranks are whole numbers, see
    `format.value_error`.
    """
    if value.shape != one.shape:
        return float("nan")
    if not value.size:
        return 0.0
    two = one if two is None else two
    low, high = np.minimum(one, two), np.maximum(one, two)
    error = np.maximum(low - value, value - high).clip(0)
    scale = np.maximum(np.abs(value), 1) if value.dtype.kind == "f" else 1
    return float((error / scale).max())


def check_tagged_evaluation(stored: Stored) -> Iterator[Difference]:
    """Yield the differences on several matrices whose numbers carry a tag, and their rSum."""
    outputs = stored.folder("outputs")
    for key, scores in stored.folder("inputs").items():
        tag = key.removeprefix("sims_")
        yield from _matrix_differences(outputs, scores, after=f"_{tag}")


def check_two_models(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of several models, of their ensemble and of its folds."""
    outputs, inputs = stored.folder("outputs"), stored.folder("inputs")
    mean = retrieval.ensemble(list(inputs.values()))
    matrices = {name.removeprefix("sims_"): scores for name, scores in inputs.items()}
    for tag, scores in (matrices | {"ensemble": mean}).items():
        yield from _matrix_differences(outputs, scores, before=f"{tag}/")
    for name, value in outputs.items():
        folds = re.fullmatch(r"ensemble/fold(\d+)", name)
        if folds:
            yield Difference(name, _outside(value, _folds(mean, int(folds[1]))), VALUE_LIMIT)
        elif name == "ensemble/sims":
            yield Difference(name, _outside(value, mean), VALUE_LIMIT)


def check_ensemble(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of an ensemble: whole, in its folds, and their mean."""
    outputs = stored.folder("outputs")
    mean = retrieval.ensemble(list(stored.folder("inputs").values()))
    per_image = mean.shape[1] // len(mean)
    count = len(outputs.get("folds", range(FOLDS)))
    ours = {
        "full": lambda: _row(retrieval.metrics(mean, captions_per_image=per_image)),
        "folds": lambda: _folds(mean, count),
        "fold_mean": lambda: _row(
            retrieval.five_folds(mean, captions_per_image=per_image, folds=count)
        ),
    }
    for name in ours.keys() & outputs.keys():
        yield Difference(name, _outside(outputs[name], ours[name]()), VALUE_LIMIT)


def _row(found: retrieval.Metrics) -> np.ndarray:
    return np.array(found.i2t.values() + found.t2i.values())


def _folds(scores: np.ndarray, count: int) -> np.ndarray:
    size = len(scores) // count
    n = scores.shape[1] // len(scores)
    cuts = [slice(k * size, (k + 1) * size) for k in range(count)]
    parts = [scores[cut, cut.start * n : cut.stop * n] for cut in cuts]
    return np.stack([_row(retrieval.metrics(part, captions_per_image=n)) for part in parts])


def _matrix_differences(
    outputs: Mapping[str, np.ndarray], scores: np.ndarray, before: str = "", after: str = ""
) -> Iterator[Difference]:
    """Yield the differences of what is stored of one matrix, its tag ``before`` or ``after``."""
    per_image = scores.shape[1] // len(scores)
    scores = scores.astype(np.float64)
    best, worst = (_evaluated(scores, per_image, ties) for ties in ("optimistic", "pessimistic"))
    for what in best:
        name = f"{before}{what}{after}"
        if name in outputs:
            yield Difference(name, _outside(outputs[name], best[what], worst[what]), VALUE_LIMIT)
