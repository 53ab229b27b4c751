"""Training steps: the same losses, gradient norms, weights and running averages, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from itm_core.gradients import Batch, gradient_step
from itm_core.losses import LossSettings
from itm_core.matchers import Matcher
from itm_core.pair_dropout import PairDropout
from itm_core.pairing import AllPairs
from itm_core.reference import chan
from itm_core.reference.format import VALUE_LIMIT, Difference, Stored, value_difference
from itm_core.reference.models import build, name_in
from itm_core.reference.names import UNUSED

WEIGHT_LIMIT = 2e-5  # after four steps of AdamW, which divides by the size of the gradient


def check_rcar_steps(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of AdamW steps in training mode, dropout off (its masks are random)."""
    c = stored.config
    matcher = build(stored, "rcar").train()
    _silence(matcher)
    optimiser = torch.optim.AdamW(
        matcher.parameters(),
        lr=c["lr"],
        betas=tuple(c["betas"]),
        eps=c["eps"],
        weight_decay=c["weight_decay"],
    )
    batch = _batch(stored)
    loss = LossSettings(margin=c["margin"])
    losses, norms = [], []
    for hard in c["hard_per_step"]:
        optimiser.zero_grad(set_to_none=True)
        losses.append(gradient_step(matcher, batch, loss, hardest=hard))
        norm = torch.nn.utils.clip_grad_norm_(matcher.parameters(), c["grad_clip"])
        norms.append(float(norm))
        optimiser.step()
    yield row_difference("losses", losses, stored)
    yield row_difference("grad_norms", norms, stored)
    yield from _weight_differences(stored, matcher)
    with torch.no_grad():
        regions, words = matcher.regions(batch.features), matcher.words(batch.tokens, batch.lens)
        scores = matcher(AllPairs(regions, words)).T
    yield value_difference("final_sims_train", scores, stored.tensor("outputs/final_sims_train"))


def check_chan_steps(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of three AdamW steps of CHAN, parameters after the first and last."""
    c = stored.config
    matcher = chan.build(stored).train()
    optimiser = torch.optim.AdamW(
        matcher.parameters(), lr=c["learning_rate"], weight_decay=c["adamw_weight_decay"]
    )
    batch = replace(_batch(stored), region_lens=stored.tensor("inputs/image_lengths"))
    losses, norms = [], []
    for step in range(c["steps"]):
        optimiser.zero_grad(set_to_none=True)
        losses.append(gradient_step(matcher, batch, LossSettings(margin=c["margin"]), hardest=True))
        norm = torch.nn.utils.clip_grad_norm_(matcher.parameters(), c["grad_clip"])
        norms.append(float(norm))
        optimiser.step()
        if step + 1 in (1, c["steps"]):
            yield from _trusted_differences(stored, matcher, f"after_step{step + 1}")
    yield row_difference("losses", losses, stored)
    yield row_difference("grad_norms_before_clip", norms, stored)


def _trusted_differences(stored: Stored, matcher: Matcher, folder: str) -> Iterator[Difference]:
    """Yield the parameters' differences where the file trusts them; noise drives the others."""
    state = matcher.state_dict()
    for theirs, value in stored.folder(f"outputs/{folder}").items():
        name, ours = f"{folder}/{theirs}", name_in(matcher, theirs, "chan")
        trusted = stored.arrays[f"outputs/trusted/{theirs}"] > 0
        if folder == "after_step1":
            left = f"says what to compare: all but {(~trusted).sum()} of {trusted.size} entries"
            yield Difference(f"trusted/{theirs}", 0.0, 0.0, exempt=left)
        if ours == UNUSED:  # ours does not have it; never used, so never moved
            moved = float(np.abs(value - stored.arrays[f"weights/{theirs}"]).max(initial=0))
            yield Difference(name, moved, WEIGHT_LIMIT)
        else:
            found = np.abs(state[ours].numpy() - value)[trusted]
            yield Difference(name, float(found.max(initial=0)), WEIGHT_LIMIT)


def row_difference(name: str, ours: list[float], stored: Stored) -> Difference:
    """Return the largest difference of one number a step, relative to values above one."""
    theirs = stored.tensor(f"outputs/{name}").double()
    error = (torch.tensor(ours).double() - theirs).abs() / theirs.abs().clamp_min(1)
    return Difference(name, float(error.max()), VALUE_LIMIT)


def _batch(stored: Stored) -> Batch:
    images = stored.tensor("inputs/images")
    return Batch(
        images,
        stored.tensor("inputs/captions"),
        stored.tensor("inputs/lengths"),
        torch.arange(len(images)),
    )


def _silence(matcher: Matcher) -> None:
    """Turn dropout off, as the reference did, while batch norm still learns."""
    for part in matcher.modules():
        if isinstance(part, (torch.nn.Dropout, PairDropout)):
            part.p = 0.0


def _weight_differences(stored: Stored, matcher: Matcher) -> Iterator[Difference]:
    """Yield the final weights' differences; those whose exact gradient is zero are exempt."""
    free = set(stored.config["free_parameters"])
    state = matcher.state_dict()
    for theirs, value in stored.folder("outputs/final_weights").items():
        name, ours = f"final_weights/{theirs}", name_in(matcher, theirs, "rcar")
        if theirs in free:
            yield Difference(name, 0.0, 0.0, exempt="its exact gradient is zero")
        elif ours == UNUSED:
            start = stored.arrays[f"weights/{theirs}"]
            moved = float(np.abs(value - start).max(initial=0))
            yield Difference(name, moved, VALUE_LIMIT)  # never used, so never moved
        else:
            error = (state[ours].double() - torch.from_numpy(value).double()).abs().max()
            yield Difference(name, float(error), WEIGHT_LIMIT)
