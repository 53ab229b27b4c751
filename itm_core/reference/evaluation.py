"""Reference numbers of the evaluation: ranks, recalls, folds and ensembles of score matrices."""

from __future__ import annotations

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
    per_image = stored.config.get("captions_per_image", 5)
    scores = stored.arrays["inputs/sims"].astype(np.float64)
    found = {ties: _evaluated(scores, per_image, ties) for ties in ("optimistic", "pessimistic")}
    best, worst = found["optimistic"], found["pessimistic"]
    for name, value in stored.folder("bounds").items():
        what, ties = name.rsplit("_", 1)
        yield Difference(f"bounds/{name}", _outside(value, found[ties][what], None), VALUE_LIMIT)
    for name, value in stored.folder("outputs").items():
        what = name.split("@")[0]
        yield Difference(name, _outside(value, best[what], worst[what]), VALUE_LIMIT)


def _evaluated(scores: np.ndarray, per_image: int, ties: str) -> dict[str, np.ndarray]:
    ranked = retrieval.ranks(scores, captions_per_image=per_image, ties=ties, nan="first")
    numbers = retrieval.metrics(scores, captions_per_image=per_image, ties=ties, nan="first")
    shown = np.where(np.isnan(scores), np.inf, scores)
    return {
        "i2t_ranks": ranked.i2t,
        "t2i_ranks": ranked.t2i,
        "i2t": np.array(numbers.i2t.values()),
        "t2i": np.array(numbers.t2i.values()),
        "i2t_top1": shown.argmax(1) if ties == "optimistic" else _last_best(shown),
        "t2i_top1": shown.argmax(0) if ties == "optimistic" else _last_best(shown.T),
    }


def _last_best(scores: np.ndarray) -> np.ndarray:
    return scores.shape[1] - 1 - scores[:, ::-1].argmax(1)


def _outside(value: np.ndarray, one: np.ndarray, two: np.ndarray | None) -> float:
    """Return how far ``value`` lies outside the interval of the two (either may be larger)."""
    if value.shape != one.shape:
        return float("nan")
    two = one if two is None else two
    low, high = np.minimum(one, two), np.maximum(one, two)
    return float(np.maximum(low - value, value - high).clip(0).max())


def check_tagged_evaluation(stored: Stored) -> Iterator[Difference]:
    """Yield the differences on several matrices whose numbers carry a tag, and their rSum."""
    outputs = stored.folder("outputs")
    for key, scores in stored.folder("inputs").items():
        tag = key.removeprefix("sims_")
        found = _bounds_of(scores)
        for what in found["optimistic"]:
            yield _compared(f"{what}_{tag}", outputs, found, what)
        ours = np.array(retrieval.metrics(scores.astype(np.float64)).rsum)
        yield Difference(f"rsum_{tag}", _outside(outputs[f"rsum_{tag}"], ours, None), VALUE_LIMIT)


def check_two_models(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of two models, of their ensemble and of its folds."""
    outputs, inputs = stored.folder("outputs"), stored.folder("inputs")
    mean = retrieval.ensemble(list(inputs.values()))
    matrices = {name.removeprefix("sims_"): scores for name, scores in inputs.items()}
    for tag, scores in (matrices | {"ensemble": mean}).items():
        found = _bounds_of(scores)
        for what in found["optimistic"]:
            if f"{tag}/{what}" in outputs:
                yield _compared(f"{tag}/{what}", outputs, found, what)
    error = _outside(outputs["ensemble/sims"], mean, None)
    yield Difference("ensemble/sims", error, VALUE_LIMIT)
    error = _outside(outputs["ensemble/fold5"], _folds(mean), None)
    yield Difference("ensemble/fold5", error, VALUE_LIMIT)


def check_ensemble(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of an ensemble: whole, in its folds, and their mean."""
    mean = retrieval.ensemble(list(stored.folder("inputs").values()))
    ours = {
        "full": _row(retrieval.metrics(mean)),
        "folds": _folds(mean),
        "fold_mean": _row(retrieval.five_folds(mean)),
    }
    for name, value in ours.items():
        error = _outside(stored.arrays[f"outputs/{name}"], value, None)
        yield Difference(name, error, VALUE_LIMIT)


def _row(found: retrieval.Metrics) -> np.ndarray:
    return np.array(found.i2t.values() + found.t2i.values())


def _folds(scores: np.ndarray) -> np.ndarray:
    size = len(scores) // FOLDS
    n = scores.shape[1] // len(scores)
    cuts = [slice(k * size, (k + 1) * size) for k in range(FOLDS)]
    parts = [scores[cut, cut.start * n : cut.stop * n] for cut in cuts]
    return np.stack([_row(retrieval.metrics(part)) for part in parts])


def _bounds_of(scores: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    per_image = scores.shape[1] // len(scores)
    return {
        ties: _evaluated(scores.astype(np.float64), per_image, ties)
        for ties in ("optimistic", "pessimistic")
    }


def _compared(
    name: str,
    outputs: Mapping[str, np.ndarray],
    found: Mapping[str, Mapping[str, np.ndarray]],
    what: str,
) -> Difference:
    error = _outside(outputs[name], found["optimistic"][what], found["pessimistic"][what])
    return Difference(name, error, VALUE_LIMIT)
