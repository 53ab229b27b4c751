"""Reference numbers of training steps: losses, gradient norms, weights, running averages.

Ours are computed by `optimisation.train_step` and `optimisation.make_optimiser`, as in every run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from itm_book.checkpoints.authors_names import UNUSED, name_in
from itm_book.checkpoints.authors_options import POOLED_ENCODERS, SETTINGS
from itm_book.parity import chan
from itm_book.parity.format import VALUE_LIMIT, Difference, Stored, value_difference
from itm_book.parity.models import build, family_of
from itm_book.parity.pooled import pooled_of
from itm_core.errors import InputError
from itm_core.models import Matcher
from itm_core.models.pair_dropout import PairDropout
from itm_core.models.pairing import AllPairs
from itm_core.training.gradients import Batch
from itm_core.training.losses import LossSettings
from itm_core.training.optimisation import make_optimiser, train_step
from itm_core.training.settings import TrainingSettings

# in float64, relative above one: losses and weights; CHAN's soft coding has another epsilon in
# a norm than ours
DOUBLE_LIMITS = {"losses": 1e-10, "weights": 1e-7}
SOFT_CODING_LIMITS = {"losses": 1e-7, "weights": 1e-6}
SINGLE_LIMITS = {"losses": VALUE_LIMIT, "weights": VALUE_LIMIT}
# softmax and batch norm are invariant to these biases: their gradients are rounding noise
FREE = r".*rar_v_w\.0\.bias|img_enc\.mlp\.layers\.0\.bias"
COUNTER = r".*SAF_module\.bn\.num_batches_tracked"


def check_steps(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of optimiser steps, dropout off (its masks are random).

    Raises `InputError` for an option or a weight that ours does not have.
    """
    c = stored.config
    family = _family(stored)
    matcher = _matcher_of(stored, family).train()
    _disable_dropout(matcher)
    training = _training(stored)
    optimiser = make_optimiser(matcher, training)
    for group in optimiser.param_groups:
        group |= {"betas": tuple(c["betas"])} if "betas" in c else {}
        group |= {"eps": c["eps"]} if "eps" in c else {}
    limits = _limits(stored)
    loss = LossSettings(margin=c["margin"])
    losses, norms = [], []
    count = len(stored.tensor("outputs/losses"))
    hardest = c.get("hard_per_step", [True] * count)
    for step, hard in zip(range(count), hardest, strict=True):
        batch = _batch(stored, step)
        value, norm = train_step(matcher, optimiser, batch, loss, training, hardest=hard)
        losses.append(value)
        norms.append(float(norm))
        folder = f"after_step{step + 1}"
        yield from _weight_differences(stored, matcher, family, folder, limits["weights"])
    yield from _weight_differences(stored, matcher, family, "final_weights", limits["weights"])
    yield from _trusted(stored)
    for name, row in (("losses", losses), ("grad_norms", norms), ("grad_norms_before_clip", norms)):
        if f"outputs/{name}" in stored.arrays:
            theirs = stored.tensor(f"outputs/{name}").double()
            ours = torch.tensor(row, dtype=torch.float64)
            yield value_difference(name, ours, theirs, limits["losses"])
    if "outputs/final_sims_train" in stored.arrays:
        theirs = stored.tensor("outputs/final_sims_train")
        yield value_difference("final_sims_train", _scores(matcher, batch), theirs)


def _family(stored: Stored) -> str:
    family = family_of(stored)
    if family in SETTINGS and family != "pfan":
        return family
    raise InputError("training steps of an unknown method", file=stored.path, found=family)


def _matcher_of(stored: Stored, family: str) -> Matcher:
    if family == "chan":
        return chan.build(stored)
    return pooled_of(stored, family) if family in POOLED_ENCODERS else build(stored, family)


def _training(stored: Stored) -> TrainingSettings:
    """Return the training settings of a file; releases have two names for some options."""
    c = stored.config
    adamw = str(c["optimizer"]).startswith("AdamW")
    decay = c.get("weight_decay", c.get("adamw_weight_decay", 0.0))
    return TrainingSettings(
        learning_rate=c["learning_rate"] if "learning_rate" in c else c["lr"],
        optimiser="adamw" if adamw else "adam",
        weight_decay=decay,
        grad_clip=c["grad_clip"],
    )


def _limits(stored: Stored) -> Mapping[str, float]:
    if stored.arrays["outputs/losses"].dtype != np.float64 or not stored.has("inputs", "step0/.+"):
        return SINGLE_LIMITS
    soft = stored.config.get("coding_type") == "VSACoding"
    return SOFT_CODING_LIMITS if soft else DOUBLE_LIMITS


def _batch(stored: Stored, step: int) -> Batch:
    """Return the batch of a step, or the one batch of all steps."""
    start = f"inputs/step{step}/" if stored.has("inputs", r"step\d+/.+") else "inputs/"
    images = stored.tensor(f"{start}images")
    ragged = f"{start}image_lengths"
    return Batch(
        images,
        stored.tensor(f"{start}captions"),
        stored.tensor(f"{start}lengths"),
        torch.arange(len(images)),
        stored.tensor(ragged) if ragged in stored.arrays else None,
    )


@torch.no_grad()
def _scores(matcher: Matcher, batch: Batch) -> torch.Tensor:
    regions = matcher.regions(batch.features, batch.region_lens)
    return matcher(AllPairs(regions, matcher.words(batch.tokens, batch.lens))).T


def _disable_dropout(matcher: Matcher) -> None:
    """Turn dropout off, as in the reference, while batch norm is in training mode."""
    for part in matcher.modules():
        if isinstance(part, (torch.nn.Dropout, PairDropout)):
            part.p = 0.0


def _trusted(stored: Stored) -> Iterator[Difference]:
    """Yield an exempt difference for each mask of compared entries, with their number."""
    for name, flags in stored.folder("outputs/trusted").items():
        left = f"says what to compare: all but {(flags == 0).sum()} of {flags.size} entries"
        yield Difference(f"trusted/{name}", 0.0, 0.0, exempt=left)


def _weight_differences(
    stored: Stored, matcher: Matcher, family: str, folder: str, limit: float
) -> Iterator[Difference]:
    """Yield the differences of the weights in a folder; those driven by rounding are exempt."""
    state: dict[str, Any] = matcher.state_dict()
    for theirs, value in stored.folder(f"outputs/{folder}").items():
        name, ours = f"{folder}/{theirs}", name_in(matcher, theirs, family)
        free = re.fullmatch(FREE, theirs) or theirs in stored.config.get("free_parameters", ())
        flags = stored.arrays.get(f"outputs/trusted/{theirs}", np.ones(value.shape))
        trusted = torch.from_numpy(np.asarray(flags > 0))
        if free:
            yield Difference(name, 0.0, 0.0, exempt="its exact gradient is zero")
        elif not trusted.any():
            yield Difference(name, 0.0, 0.0, exempt="the file trusts no entry of it")
        elif ours != UNUSED:
            our_values = state[ours].view(value.shape)[trusted]
            yield value_difference(name, our_values, torch.from_numpy(value)[trusted], limit)
        elif re.fullmatch(COUNTER, theirs):
            yield Difference(name, 0.0, 0.0, exempt="a count of batches that ours does not keep")
        else:  # we do not have it; unused, so never updated
            start = torch.from_numpy(stored.arrays[f"weights/{theirs}"])
            yield value_difference(name, start, torch.from_numpy(value), limit)
