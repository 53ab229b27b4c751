"""The training loop: schedules, warm-up, mixed precision, exact resume.

Interrupted anywhere and started again, a run continues from its last checkpoint and ends with
the same weights, bit for bit on a CPU: batches depend on seed, epoch and step alone, and the
checkpoint holds everything else.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from itm_core.errors import InputError
from itm_core.files import whole_file
from itm_core.fragments import Fragments
from itm_core.losses import hinge
from itm_core.matchers import Matcher
from itm_core.pairing import AllPairs, Matched
from itm_core.recipes import Recipe, TrainingSettings
from itm_core.scoring import pad, score_fragments, tile_floats, tiles

CHECKPOINT_SECONDS = 60.0
SPARSE_SHARE = 0.25  # above this share of pairs with a gradient, scoring all of them is cheaper
WORST = -math.inf


@dataclass(frozen=True)
class Pairs:
    """Training pairs: image features ``[I, R, F]``, captions as token ids, and whose each is."""

    features: np.ndarray
    captions: Sequence[Sequence[int]]
    image_of: np.ndarray


@dataclass
class Progress:
    """Where a run stands; together with weights and optimiser it is the whole state."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best: float = WORST
    curve: list[dict[str, float]] = field(default_factory=list)


def learning_rate(settings: TrainingSettings, epoch: int) -> float:
    """Return the rate of an epoch (from 0): a tenth less after every ``drop_every`` epochs."""
    return settings.learning_rate * 0.1 ** (epoch // settings.drop_every)


def batches(pairs: Pairs, size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Return the captions of each batch of an epoch, shuffled by seed and epoch alone.

    The last batch may be smaller; one of a single pair, which has no negatives, is left out.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(pairs.captions))
    cut = [order[start : start + size] for start in range(0, len(order), size)]
    return [batch for batch in cut if len(batch) > 1]


def loss_and_gradient(
    matcher: Matcher, regions: Fragments, words: Fragments, margin: float, *, hardest: bool
) -> float:
    """Return the hinge loss of a batch and add its gradient to the embeddings and parameters.

    All pairs are scored without a graph first; that gives the loss and its slope with respect
    to every score. Then the pairs that have a slope are scored once more, with a graph. With
    hardest negatives they are at most three per row of the n x n scores, and are met on
    `Matched`; with all negatives they are nearly all, and are met tile by tile, so that neither
    way holds the graph of the whole batch. A matcher whose scores depend on the whole batch is
    scored once, with its graph.
    """
    if not matcher.scores_pairs_independently:
        value = hinge(matcher(AllPairs(regions, words)).T.float(), margin, hardest=hardest)
        value.backward()
        return value.item()
    scores = score_fragments(matcher, [regions.detach()], words.detach()).float()
    loss, slope = _slope(scores, margin, hardest)
    pairs = slope.nonzero()
    if len(pairs) > SPARSE_SHARE * slope.numel():
        _backward_in_tiles(matcher, regions, words, slope)
    elif len(pairs):
        image, caption = pairs.unbind(1)
        some = matcher(Matched(regions.take(image), words.take(caption)))[:, 0]
        some.backward(slope[image, caption].to(some.dtype))
    return loss


def _backward_in_tiles(
    matcher: Matcher, regions: Fragments, words: Fragments, slope: Tensor
) -> None:
    order = torch.argsort(words.lens)
    per_word = regions.vectors.shape[0] * regions.vectors.shape[1]
    for tile in tiles(words.lens[order], per_word, tile_floats(slope.device)):
        captions = order[tile]
        # fresh fragments: what they remember belongs to the graph that is freed here
        pairing = AllPairs(Fragments(regions.vectors, regions.lens), words.take(captions))
        scores = matcher(pairing)
        scores.backward(slope.T[captions.to(slope.device)].to(scores.dtype))


def _slope(scores: Tensor, margin: float, hardest: bool) -> tuple[float, Tensor]:
    scores = scores.detach().requires_grad_()
    with torch.enable_grad():
        loss = hinge(scores, margin, hardest=hardest)
        (slope,) = torch.autograd.grad(loss, scores)
    return loss.item(), slope


class Trainer:
    """Trains a matcher by a recipe, keeping its checkpoints in a folder.

    Args:
        matcher: on the device where it shall train.
        pairs: what to train on.
        score_dev: returns the numbers of an epoch (``rsum`` among them) for the matcher.
        folder: gets ``state.pt`` (resume), ``best.safetensors`` and ``last.safetensors``.
    """

    def __init__(
        self,
        matcher: Matcher,
        pairs: Pairs,
        recipe: Recipe,
        *,
        seed: int,
        folder: Path,
        score_dev: Callable[[Matcher], dict[str, float]],
        save: Callable[[Matcher, Path], None],
        progress: bool = True,
    ) -> None:
        self.matcher, self.pairs, self.recipe = matcher, pairs, recipe
        self.seed, self.folder, self.score_dev, self.save = seed, folder, score_dev, save
        self.device = next(matcher.parameters()).device
        self.optimiser = torch.optim.Adam(matcher.parameters(), lr=recipe.training.learning_rate)
        self.state = Progress()
        self.show = progress
        self.stop = threading.Event()
        self.saved_at = time.monotonic()

    def run(self) -> Progress:
        """Train to the last epoch and return the progress, resuming what was interrupted.

        Raises KeyboardInterrupt after an interrupt or termination, with the state saved.
        """
        self._resume()
        epochs = self.recipe.training.epochs
        steps = len(batches(self.pairs, self.recipe.training.batch, self.seed, 0))
        done = self.state.epoch * steps + self.state.step
        with (
            _interrupts(self.stop),
            tqdm(total=epochs * steps, initial=done, disable=not self.show, unit="step") as bar,
        ):
            while self.state.epoch < epochs:
                self._epoch(bar)
        return self.state

    def _epoch(self, bar: tqdm) -> None:
        state, training = self.state, self.recipe.training
        cut = batches(self.pairs, training.batch, self.seed, state.epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(training, state.epoch)
        self.matcher.train()
        started = time.monotonic() - state.seconds
        while state.step < len(cut):
            self._step(cut[state.step])
            state.step += 1
            state.seconds = time.monotonic() - started
            self._show(bar)
            bar.update()
            self._checkpoint_if_due()
        numbers = self.score_dev(self.matcher)
        state.seconds = time.monotonic() - started
        self._close_epoch(numbers, len(cut))
        self._show(bar)

    def _close_epoch(self, numbers: dict[str, float], steps: int) -> None:
        state = self.state
        row = {"epoch": state.epoch + 1, "loss": state.loss_sum / steps, **numbers}
        state.curve.append(row | {"seconds": state.seconds})
        if numbers["rsum"] > state.best:
            state.best = numbers["rsum"]
            self.save(self.matcher, self.folder / "best.safetensors")
        state.epoch, state.step, state.loss_sum, state.seconds = state.epoch + 1, 0, 0.0, 0.0
        self.checkpoint()
        self._stop_if_asked()

    def _step(self, batch: np.ndarray) -> None:
        loss, training = self.recipe.loss, self.recipe.training
        batch = batch[np.argsort([-len(self.pairs.captions[i]) for i in batch], kind="stable")]
        features = np.asarray(self.pairs.features[self.pairs.image_of[batch]], np.float32)
        ids, lens = pad([self.pairs.captions[i] for i in batch])
        self.optimiser.zero_grad(set_to_none=True)
        half = training.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            regions = self.matcher.regions(torch.from_numpy(features).to(self.device))
            words = self.matcher.words(ids.to(self.device), lens)
            leaves = _leaf(regions), _leaf(words)
            hardest = loss.hardest and self.state.epoch >= loss.warmup_epochs
            value = loss_and_gradient(
                self.matcher, leaves[0], leaves[1], loss.margin, hardest=hardest
            )
        if not math.isfinite(value):
            raise InputError(
                "the loss is no longer a finite number",
                found=f"{value} in epoch {self.state.epoch + 1}, step {self.state.step + 1}",
                remedy="lower training.learning_rate, or check the features",
            )
        _through_encoders((regions, words), leaves)
        torch.nn.utils.clip_grad_norm_(self.matcher.parameters(), training.clip)
        self.optimiser.step()
        self.state.loss_sum += value

    def _show(self, bar: tqdm) -> None:
        state = self.state
        shown = {"epoch": f"{min(state.epoch + 1, self.recipe.training.epochs)}"}
        if state.step:
            shown["loss"] = f"{state.loss_sum / state.step:.2f}"
        if state.curve:
            shown["rSum"] = f"{state.curve[-1]['rsum']:.1f}"
        bar.set_postfix(shown, refresh=False)

    def _checkpoint_if_due(self) -> None:
        if self.stop.is_set() or time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
            self.checkpoint()
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self.stop.is_set():
            raise KeyboardInterrupt(f"stopped; the state is kept in {self.folder}")

    def checkpoint(self) -> None:
        """Save weights, optimiser, random state and progress, whole or not at all."""
        cuda = torch.cuda.get_rng_state_all() if self.device.type == "cuda" else []
        content: dict[str, Any] = {
            "matcher": self.matcher.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": cuda,
            "progress": vars(self.state),
        }
        with whole_file(self.folder / "state.pt") as partial:
            torch.save(content, partial)
        self.saved_at = time.monotonic()

    def _resume(self) -> None:
        path = self.folder / "state.pt"
        if not path.exists():
            return
        try:
            content = torch.load(path, map_location=self.device, weights_only=True)
            self.matcher.load_state_dict(content["matcher"])
            self.optimiser.load_state_dict(content["optimiser"])
            torch.set_rng_state(content["random"].cpu())
            if content["random_cuda"] and self.device.type == "cuda":
                torch.cuda.set_rng_state_all([state.cpu() for state in content["random_cuda"]])
            self.state = Progress(**content["progress"])
        except Exception as error:  # whatever a damaged file makes the reader raise
            raise InputError(
                "the checkpoint cannot be read",
                file=path,
                found=str(error).split("\n")[0],
                remedy=f"delete {self.folder} to train this run from its beginning",
            ) from error


def _leaf(fragments: Fragments) -> Fragments:
    return Fragments(fragments.vectors.detach().requires_grad_(), fragments.lens)


def _through_encoders(encoded: Sequence[Fragments], leaves: Sequence[Fragments]) -> None:
    """Carry the gradients that arrived at the embeddings back into the encoders, once."""
    got = [(e.vectors, v.vectors.grad) for e, v in zip(encoded, leaves, strict=True)]
    got = [(vectors, slope) for vectors, slope in got if slope is not None]
    if got:
        vectors, slopes = zip(*got, strict=True)
        torch.autograd.backward(list(vectors), list(slopes))


@contextmanager
def _interrupts(stop: threading.Event) -> Iterator[None]:
    """Let the first interrupt or termination end the current step; a second one ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
