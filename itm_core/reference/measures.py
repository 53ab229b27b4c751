"""Reference numbers of losses and of token ids."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itm_core.data.vocabulary import Vocabulary, tokenise
from itm_core.errors import InputError
from itm_core.losses import hinge
from itm_core.reference.chan_text import check_text
from itm_core.reference.format import Difference, Stored, value_difference


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


def check_numbered_losses(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of the hinge loss on several matrices, each with its own margin."""
    for number, case in enumerate(stored.config["cases"]):
        for kind in ("sum", "hard"):
            scores = stored.tensor(f"inputs/sims{number}").requires_grad_()
            loss = hinge(scores, case["margin"], hardest=kind == "hard")
            (slope,) = torch.autograd.grad(loss, scores)
            for name, ours in ((f"loss_{kind}{number}", loss), (f"grad_{kind}{number}", slope)):
                yield value_difference(name, ours.detach(), stored.tensor(f"outputs/{name}"))


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
    if isinstance(content, dict) and "word2idx_on_disk" in content:
        return "CHAN text", check_text(content)
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
