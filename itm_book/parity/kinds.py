"""Determines the kind of a reference file from its options and the names of its arrays.

The names of files and repositories are not used; temperatures, margins, tags and counts in the
names of arrays may have any value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from itm_book.parity import chan
from itm_book.parity.chan_text import check_collate
from itm_book.parity.evaluation import (
    check_ensemble,
    check_evaluation,
    check_tagged_evaluation,
    check_two_models,
)
from itm_book.parity.format import Difference, Stored
from itm_book.parity.measures import check_loss, check_numbered_losses, check_tokens
from itm_book.parity.models import check_model, check_pfan, family_of
from itm_book.parity.pooled import check_gpo, check_pooled
from itm_book.parity.steps import check_steps

Checker = Callable[[Stored], Iterable[Difference]]
NUMBERS = r"(i2t|t2i)(_ranks|_top1)?"  # arrays that an evaluation stores for one score matrix
MODELS: dict[str, tuple[str, Checker]] = {
    "scan": ("SCAN", check_model("scan")),
    "bfan": ("BFAN", check_model("bfan")),
    "sgraf": ("SGRAF", check_model("sgraf")),
    "imram": ("IMRAM", check_model("imram")),
    "rcar": ("RCAR", check_model("rcar")),
    "pfan": ("PFAN", check_pfan),
    "chan": ("CHAN", chan.check_model),
    "vsepp": ("VSE++", check_pooled("vsepp")),
    "vsrn": ("VSRN", check_pooled("vsrn")),
    "vseinf": ("VSE-infinity", check_pooled("vseinf")),
}


def kind_of(stored: Stored) -> tuple[str, Checker] | None:
    """Return the kind of a file and its checker; None for an unknown kind."""
    has, config = stored.has, stored.config
    if has("weights", ".+"):
        return _with_weights(stored)
    if {"vocab_subset", "captions"} <= config.keys():
        return "tokens", check_tokens
    if "coding_type" in config and has("inputs", "img_emb") and has("inputs", "cap_emb"):
        return "CHAN coding", chan.check_coding
    if has("inputs", "coding") and has("inputs", "lengths"):
        return "CHAN poolings", chan.check_poolings
    if has("inputs", r"image_\d+") and has("inputs", r"caption_\d+"):
        return "CHAN batches", check_collate
    return _of_scores(stored)


def _with_weights(stored: Stored) -> tuple[str, Checker] | None:
    has = stored.has
    if has("inputs", "features") and has("outputs", "pooled"):
        return "GPO", check_gpo
    if has("outputs", "losses"):
        return "training steps", check_steps
    if has("inputs", "captions") and has("outputs", "sims"):
        return MODELS.get(family_of(stored) or "")
    return None


def _of_scores(stored: Stored) -> tuple[str, Checker] | None:
    """Return the kind of a file with score matrices and their losses or evaluation."""
    has = stored.has
    if has("inputs", "scores") and has("outputs", r"loss_\w+_margin.+"):
        return "loss", check_loss
    if has("inputs", r"sims\d+") and has("outputs", r"loss_[a-z]+\d+"):
        return "loss", check_numbered_losses
    if not has("inputs", "sims.*"):
        return None
    if has("outputs", "(float64_)?loss/.+/.+"):
        return "CHAN losses", chan.check_losses
    if has("inputs", "sims") and has("outputs", rf"{NUMBERS}(@.+)?"):
        return "evaluation", check_evaluation
    if has("outputs", rf".+/{NUMBERS}"):
        return "evaluation", check_two_models
    if has("outputs", "full|folds|fold_mean"):
        return "evaluation", check_ensemble
    if has("outputs", rf"{NUMBERS}_.+"):
        return "evaluation", check_tagged_evaluation
    return None
