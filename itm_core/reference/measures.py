"""Reference numbers of the measures: losses, ranks and recalls, token ids."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itm_core import retrieval
from itm_core.data.vocabulary import Vocabulary, tokenise
from itm_core.errors import InputError
from itm_core.losses import hinge
from itm_core.reference.format import VALUE_LIMIT, Difference, Stored, value_difference


def check_loss(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of the hinge loss and its gradient on a given score matrix."""
    for name, value in stored.folder("outputs").items():
        if not name.startswith("loss_"):
            continue
        kind, margin = name.removeprefix("loss_").split("_margin")
        scores = stored.tensor("inputs/scores").requires_grad_()
        loss = hinge(scores, float(margin.replace("p", ".")), hardest=kind == "max")
        (slope,) = torch.autograd.grad(loss, scores)
        yield value_difference(name, loss.detach(), torch.as_tensor(value))
        theirs = stored.tensor(f"outputs/grad_scores_{kind}_margin{margin}")
        yield value_difference(f"grad_scores_{kind}_margin{margin}", slope, theirs)


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


def check_tokens(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of token ids, as the number of captions that differ.

    Compared where the file says that the tokens depend neither on the sentence splitter's data
    nor on the release of nltk; the other captions have no one answer.
    """
    arrays = stored.folder("outputs")
    comparable = np.ones(len(stored.config["captions"]), bool)
    for flag in [name for name in arrays if name.startswith("independent_of")]:
        comparable &= arrays[flag]
        yield Difference(flag, 0.0, 0.0)
    special = stored.config.get("special", {})
    vocabulary = Vocabulary.from_mapping(special | stored.config["vocab_subset"])
    ours = [vocabulary.encode(caption) for caption in stored.config["captions"]]
    for name in [n for n in arrays if n.startswith(("ids", "lengths"))]:
        wrong = sum(
            not _same_tokens(name, arrays[name][i], ours[i]) for i in np.flatnonzero(comparable)
        )
        yield Difference(name, float(wrong), 0.0)


def _same_tokens(name: str, stored: np.ndarray, ours: list[int]) -> bool:
    if name.startswith("lengths"):
        return int(stored) == len(ours)
    return stored[: len(ours)].tolist() == ours and not stored[len(ours) :].any()


def text_checker_of(path: Path) -> tuple[str | None, Iterable[Difference]]:
    """Return the kind of a text or JSON file and its differences; (None, ()) when unknown."""
    if path.suffix == ".txt" and path.with_name("tokens.json").exists():
        return "captions", _check_captions(path)
    if path.suffix != ".json":
        return None, ()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError("not readable as JSON", file=path, found=error) from None
    if isinstance(content, list) and content and {"text", "lowercased"} <= set(content[0]):
        return "tokens", _check_token_list(content)
    if isinstance(content, dict) and "means_of_the_five_folds" in content:
        return "five folds", _check_folds(content["means_of_the_five_folds"])
    if isinstance(content, dict) and "sets" in content and "nltk" in content:
        return "report on tokenisers, nothing to recompute", ()
    return None, ()


def _check_token_list(entries: list[dict[str, Any]]) -> Iterator[Difference]:
    wrong = sum(tokenise(e["text"]) != e["tokens"] for e in entries if "tokens" in e)
    yield Difference("captions that differ", float(wrong), 0.0)


def _check_captions(path: Path) -> Iterator[Difference]:
    entries = json.loads(path.with_name("tokens.json").read_text(encoding="utf-8"))
    lines = path.read_bytes().decode("utf-8").split("\n")[:-1]
    wrong = sum(line != e["text"] for line, e in zip(lines, entries, strict=False))
    yield Difference("lines that differ", float(wrong + abs(len(lines) - len(entries))), 0.0)


def _check_folds(means: dict[str, Any]) -> Iterator[Difference]:
    """The matrices are not stored: what can be checked is that the parts make up the whole."""
    parts = sum(means["i2t"][:3]) + sum(means["t2i"][:3])
    yield Difference("rsum", abs(parts - means["rsum"]), 1e-6)
    for side in ("i2t", "t2i"):
        mean = sum(means[side][:3]) / 3
        yield Difference(side, abs(mean - means[f"average {side} recall"]), 1e-6)
