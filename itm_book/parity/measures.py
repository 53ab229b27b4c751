"""Reference numbers of losses and of token ids."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itm_book.parity.chan_text import check_text
from itm_book.parity.format import Difference, Stored, value_difference
from itm_core.data.vocabulary import Vocabulary, tokenise
from itm_core.errors import InputError
from itm_core.training.losses import hinge

OTHERS = {  # by suffix: files of other commands in folders of reference numbers
    ".pth": "checkpoint, see itm import",
    ".tar": "checkpoint, see itm import",
    ".npy": "one array: features, or scores for itm score",
}


def check_loss(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of the hinge loss and its gradient on a given score matrix.

    Named ``loss_max_margin0p2`` and ``grad_scores_sum_margin0p05``: with any margin.
    """
    for name in stored.folder("outputs"):
        found = re.fullmatch(r"(loss|grad_scores)_(max|hard|sum)_margin([\dpe.-]+)", name)
        if found:
            margin = float(found[3].replace("p", "."))
            yield _hinge_difference(stored, name, "inputs/scores", margin, found[1], found[2])


def check_numbered_losses(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of the hinge loss on several matrices, each with its own margin."""
    for name in stored.folder("outputs"):
        found = re.fullmatch(r"(loss|grad)_(max|hard|sum)(\d+)", name)
        if found:
            margin = stored.config["cases"][int(found[3])]["margin"]
            key = f"inputs/sims{found[3]}"
            yield _hinge_difference(stored, name, key, margin, found[1], found[2])


def _hinge_difference(
    stored: Stored, name: str, scores_key: str, margin: float, what: str, kind: str
) -> Difference:
    scores = stored.tensor(scores_key).requires_grad_()
    loss = hinge(scores, margin, hardest=kind != "sum")
    ours = loss.detach() if what == "loss" else torch.autograd.grad(loss, scores)[0]
    return value_difference(name, ours, stored.tensor(f"outputs/{name}"))


def check_tokens(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of token ids, as the number of captions that differ.

    Compared where the file says that the tokens depend neither on the sentence splitter's data
    nor on the release of nltk; the other captions have no one answer.
    """
    arrays = stored.folder("outputs")
    comparable = np.ones(len(stored.config["captions"]), bool)
    flags = [name for name in arrays if name.startswith("independent_of")]
    for flag in flags:
        comparable &= arrays[flag]
    chosen = np.flatnonzero(comparable)
    for flag in flags:
        left = f"says what to compare: {len(chosen)} of {len(comparable)} captions"
        yield Difference(flag, 0.0, 0.0, exempt=left)
    special = stored.config.get("special", {})
    vocabulary = Vocabulary(special | stored.config["vocab_subset"])
    ours = [vocabulary.encode(caption) for caption in stored.config["captions"]]
    none = None if len(chosen) else "no caption has one answer"
    for name in [n for n in arrays if n.startswith(("ids", "lengths"))]:
        wrong = sum(not _same_tokens(name, arrays[name][i], ours[i]) for i in chosen)
        yield Difference(name, float(wrong), 0.0, exempt=none)


def _same_tokens(name: str, stored: np.ndarray, ours: list[int]) -> bool:
    if name.startswith("lengths"):
        return int(stored) == len(ours)
    return stored[: len(ours)].tolist() == ours and not stored[len(ours) :].any()


def text_checker_of(path: Path) -> tuple[str, Iterable[Difference]] | None:
    """Return the kind of a text or JSON file and its differences; None when it is not known.

    Raises `InputError` for a file that is not JSON though its name says so.
    """
    if path.suffix == ".txt":
        return "captions", _check_captions(path)
    if path.suffix != ".json":
        return None
    content = _json(path)
    if isinstance(content, list) and content and {"text", "lowercased"} <= set(content[0]):
        return "tokens", _check_token_list(content)
    if isinstance(content, dict) and "word2idx_on_disk" in content:
        return "CHAN text", check_text(content)
    if isinstance(content, dict) and "means_of_the_five_folds" in content:
        return "five folds", _check_folds(content["means_of_the_five_folds"])
    return None


def other_kind(path: Path) -> str | None:
    """Return the kind of a file without reference numbers; None for any other file.

    Raises `InputError` for a file that is not JSON though its name says so.
    """
    if path.suffix == ".txt":
        return None if path.with_name("tokens.json").exists() else "text of a dataset"
    if path.suffix != ".json":
        return OTHERS.get(path.suffix)
    content = _json(path)
    if isinstance(content, dict) and {"word2idx", "idx2word"} <= set(content):
        return "vocabulary"
    if isinstance(content, dict) and {"sets", "nltk"} <= set(content):
        return "report on tokenisers"
    return None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError("not readable as JSON", file=path, found=error) from None


def _check_token_list(entries: list[dict[str, Any]]) -> Iterator[Difference]:
    comparable = [e for e in entries if "tokens" in e]
    wrong = sum(tokenise(e["text"]) != e["tokens"] for e in comparable)
    none = None if comparable else "no caption has one answer"
    yield Difference(f"captions that differ of {len(comparable)}", float(wrong), 0.0, exempt=none)
    for name in sorted({key for e in entries for key in e if key.startswith("ids_")}):
        yield Difference(name, 0.0, 0.0, exempt="compared where the vocabulary is stored too")


def _check_captions(path: Path) -> Iterator[Difference]:
    entries = _json(path.with_name("tokens.json"))
    lines = path.read_bytes().decode("utf-8").split("\n")[:-1]
    wrong = sum(line != e["text"] for line, e in zip(lines, entries, strict=False))
    yield Difference("lines that differ", float(wrong + abs(len(lines) - len(entries))), 0.0)


def _check_folds(means: dict[str, Any]) -> Iterator[Difference]:
    """Check sums and means; the score matrices themselves are not stored."""
    parts = sum(means["i2t"][:3]) + sum(means["t2i"][:3])
    yield Difference("rsum", abs(parts - means["rsum"]), 1e-6)
    for side in ("i2t", "t2i"):
        mean = sum(means[side][:3]) / 3
        yield Difference(side, abs(mean - means[f"average {side} recall"]), 1e-6)
        yield Difference(f"{side} ranks", 0.0, 0.0, exempt="of matrices that are not stored")
