"""Reference numbers of the evaluation: ranks, recalls, folds and ensembles of score matrices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from itm_book.parity.format import VALUE_LIMIT, Difference, Stored
from itm_core.evaluation import retrieval

FOLDS = 5


def check_evaluation(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of ranks and recalls on a given score matrix.

    Where scores are tied the release's ranks depend on the machine that ran it: the stored
    value is then compared with the interval between our optimistic and pessimistic ranks, and
    stored bounds are compared with ours exactly.
    """
    ours = _Evaluated(stored.arrays["inputs/sims"])
    for name, value in stored.folder("bounds").items():
        what, ties = name.rsplit("_", 1)
        if ties in ours.bounds and what in ours.bounds[ties]:
            error = _outside(value, ours.bounds[ties][what])
            yield Difference(f"bounds/{name}", error, VALUE_LIMIT)
    for name, value in stored.folder("outputs").items():
        what = name.split("@")[0]
        if what in ours.names:
            yield ours.difference(name, what, value)
        ranks = stored.arrays.get(f"outputs/{what}_ranks{name.removeprefix(what)}")
        if ranks is not None:  # in the order of ties of the release
            error = _outside(value, _of_ranks(ranks))
            yield Difference(f"{name} of its own ranks", error, VALUE_LIMIT)


def _of_ranks(ranks: np.ndarray) -> np.ndarray:
    recalls = [100 * (ranks < cut).mean() for cut in retrieval.CUTS]
    return np.array([*recalls, np.floor(np.median(ranks)) + 1, ranks.mean() + 1])


class _Evaluated:
    """Our evaluation of one matrix ``[I, C]``, for the best and the worst order of ties."""

    def __init__(self, scores: np.ndarray) -> None:
        scores = scores.astype(np.float64)
        self.shown = np.where(np.isnan(scores), np.inf, scores)  # NaN is sorted first
        self.bounds = {ties: _numbers(scores, ties) for ties in ("optimistic", "pessimistic")}
        self.names = {*self.bounds["optimistic"], "i2t_top1", "t2i_top1"}

    def difference(self, name: str, what: str, value: np.ndarray) -> Difference:
        """Return the difference of one stored array; a first hit is any with the best score."""
        if what.endswith("_top1"):
            rows = self.shown if what.startswith("i2t") else self.shown.T
            if value.shape != (len(rows),):
                return Difference(name, float("nan"), 0.0)
            wrong = rows[np.arange(len(rows)), value] != rows.max(1)
            return Difference(name, float(wrong.sum()), 0.0)
        bounds = (self.bounds[ties][what] for ties in ("optimistic", "pessimistic"))
        return Difference(name, _outside(value, *bounds), VALUE_LIMIT)


def _numbers(scores: np.ndarray, ties: str) -> dict[str, np.ndarray]:
    ranked = retrieval.ranks(scores, ties=ties, nan="first")
    numbers = retrieval.metrics(scores, ties=ties, nan="first")
    return {
        "i2t_ranks": ranked.i2t,
        "t2i_ranks": ranked.t2i,
        "rsum": np.array(numbers.rsum),
        "i2t": np.array(numbers.i2t.values()),
        "t2i": np.array(numbers.t2i.values()),
    }


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
    count = len(outputs.get("folds", range(FOLDS)))
    ours = {
        "full": lambda: _row(retrieval.metrics(mean)),
        "folds": lambda: _folds(mean, count),
        "fold_mean": lambda: _row(retrieval.five_folds(mean, folds=count)),
    }
    for name in ours.keys() & outputs.keys():
        yield Difference(name, _outside(outputs[name], ours[name]()), VALUE_LIMIT)


def _row(metrics: retrieval.Metrics) -> np.ndarray:
    return np.array(metrics.i2t.values() + metrics.t2i.values())


def _folds(scores: np.ndarray, count: int) -> np.ndarray:
    size = len(scores) // count
    n = scores.shape[1] // len(scores)
    cuts = [slice(k * size, (k + 1) * size) for k in range(count)]
    parts = [scores[cut, cut.start * n : cut.stop * n] for cut in cuts]
    return np.stack([_row(retrieval.metrics(part)) for part in parts])


def _matrix_differences(
    outputs: Mapping[str, np.ndarray], scores: np.ndarray, before: str = "", after: str = ""
) -> Iterator[Difference]:
    """Yield the differences of what is stored of one matrix, its tag ``before`` or ``after``."""
    ours = _Evaluated(scores)
    for what in sorted(ours.names):
        name = f"{before}{what}{after}"
        if name in outputs:
            yield ours.difference(name, what, outputs[name])
