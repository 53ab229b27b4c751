"""The training loop: schedules, warm-up, averaged weights, mixed precision, exact resume.

Interrupted anywhere and started again, a run continues from its last checkpoint and ends with
the same weights, bit for bit on a CPU: batches depend on seed, epoch and step alone, and the
checkpoint holds everything else.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from itm_core.constraints import ConstraintSettings
from itm_core.data.arrays import images_of
from itm_core.errors import InputError
from itm_core.evaluation.scoring import longest_first, pad
from itm_core.files import reading, whole_file
from itm_core.models import Matcher
from itm_core.training.augmentation import drop_regions, drop_tokens, drop_words
from itm_core.training.distributed import SINGLE_PROCESS, ProcessGroup
from itm_core.training.feature_cache import ahead, hold
from itm_core.training.gradients import Batch
from itm_core.training.optimisation import learning_rate, make_optimiser, train_step
from itm_core.training.settings import TrainingRecipe, TrainingSettings

CHECKPOINT_SECONDS = 60.0
WORST = -math.inf


@dataclass(frozen=True)
class Pairs:
    """Training pairs: image features ``[I, R, F]``, captions as token ids, and whose each is.

    ``stop`` are the ids of words without content; ``mask`` is the id that stands for a dropped
    word, ``vocabulary`` how many ids there are; ``units`` are the captions word by word where
    words come in pieces (BERT).
    """

    features: np.ndarray
    captions: Sequence[Sequence[int]]
    image_of: np.ndarray
    stop: Sequence[int] | None = None
    mask: int = 0
    vocabulary: int = 0
    units: Sequence[Sequence[Sequence[int]]] | None = None


@dataclass
class Progress:
    """Where a run stands; together with weights and optimiser it is the whole state."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best: float = WORST
    curve: list[dict[str, float]] = field(default_factory=list)


def batches(pairs: Pairs, training: TrainingSettings, seed: int, epoch: int) -> list[np.ndarray]:
    """Return the captions of each batch of an epoch, shuffled by seed and epoch alone.

    The last batch may be smaller, unless ``drop_last``, which keeps it where it is the only one;
    one of a single pair, which has no negatives, is left out in any case.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(pairs.captions))
    size = training.batch
    cut = [order[start : start + size] for start in range(0, len(order), size)]
    least = size if training.drop_last and len(order) >= size else 2
    return [batch for batch in cut if len(batch) >= least]


class Trainer:
    """Trains a matcher by a recipe, keeping its checkpoints in a folder.

    Args:
        matcher: on the device where it shall train.
        pairs: what to train on.
        score_dev: returns the numbers of an epoch (``rsum`` among them) for the matcher.
        save: writes the weights of a matcher to a file.
        folder: gets ``state.pt`` (resume) and ``best.safetensors``, the first of the best epochs.
        team: the processes that train together; the first one alone scores and writes.
    """

    def __init__(
        self,
        matcher: Matcher,
        pairs: Pairs,
        recipe: TrainingRecipe,
        *,
        seed: int,
        folder: Path,
        score_dev: Callable[[Matcher], dict[str, float]],
        save: Callable[[Matcher, Path], None],
        progress: bool = True,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.group = group
        self.matcher, self.pairs, self.recipe = matcher, pairs, recipe
        self.seed, self.folder, self.score_dev, self.save = seed, folder, score_dev, save
        self.device = next(matcher.parameters()).device
        kind = recipe.training.feature_cache
        if recipe.training.region_dropout and kind == "auto":
            kind = "never"  # regions are dropped before a batch goes to the device
        self.held = hold(pairs.features, self.device, kind)
        self.optimiser = make_optimiser(matcher, recipe.training)
        self.steps = len(batches(pairs, recipe.training, seed, 0))  # of every epoch
        self.averaged: AveragedModel | None = None
        if recipe.training.averaging:  # buffers too: batch statistics belong to the weights
            self.averaged = AveragedModel(matcher, use_buffers=True)
        self.state = Progress()
        self.show = progress and group.first
        self.stop = threading.Event()
        self.saved_at = time.monotonic()

    def run(self) -> Progress:
        """Train to the last epoch and return the progress, resuming what was interrupted.

        Raises KeyboardInterrupt after an interrupt or termination, with the state saved.
        """
        self._resume()
        epochs = self.recipe.training.epochs
        total, done = epochs * self.steps, self.state.epoch * self.steps + self.state.step
        with (
            _interrupts(self.stop),
            tqdm(total=total, initial=done, disable=not self.show, unit="step") as bar,
        ):
            while self.state.epoch < epochs:
                self._epoch(bar)
        return self.state

    @property
    def evaluated(self) -> Matcher:
        """The matcher that epochs are scored and kept with: the average, once it has begun."""
        if self.averaged is None or not self.averaged.n_averaged:
            return self.matcher
        return self.averaged.module  # type: ignore[return-value]  # a copy of the matcher

    def _epoch(self, bar: tqdm) -> None:
        state, training = self.state, self.recipe.training
        cut = batches(self.pairs, training, self.seed, state.epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(training, state.epoch) * group["scale"]
        self.matcher.train()
        started = time.monotonic() - state.seconds
        with closing(self._ready(cut)) as ready:
            for batch in ready:
                self._step(batch)
                state.step += 1
                self._average()
                state.seconds = time.monotonic() - started
                self._show(bar)
                bar.update()
                self._checkpoint_if_due()
        numbers = self.group.broadcast(self.score_dev(self.evaluated) if self.group.first else {})
        state.seconds = time.monotonic() - started
        self._close_epoch(numbers, len(cut))
        self._show(bar)

    def _close_epoch(self, numbers: dict[str, float], steps: int) -> None:
        state = self.state
        row = {"epoch": state.epoch + 1, "loss": state.loss_sum / steps, **numbers}
        state.curve.append(row | {"seconds": state.seconds})
        if numbers["rsum"] > state.best:
            state.best = numbers["rsum"]
            if self.group.first:
                self.save(self.evaluated, self.folder / "best.safetensors")
        state.epoch, state.step, state.loss_sum, state.seconds = state.epoch + 1, 0, 0.0, 0.0
        self.checkpoint()
        self._stop_if(self.group.any(self.stop.is_set()))

    def _ready(self, cut: Sequence[np.ndarray]) -> Generator[Batch]:
        """Yield the batches of the epoch that are left, the next ones made meanwhile."""
        return ahead(lambda step: self._batch(cut[step], step), range(self.state.step, len(cut)))

    def _step(self, batch: Batch) -> None:
        recipe = self.recipe
        value, _ = train_step(
            self.matcher,
            self.optimiser,
            batch,
            recipe.loss,
            recipe.training,
            hardest=recipe.loss.hardest and self.state.epoch >= recipe.loss.warmup_epochs,
            constraints=self._constraints(),
            generator=torch.Generator().manual_seed(self._number(self.state.step)),
            group=self.group,
        )
        if not math.isfinite(value):
            raise InputError(
                "the loss is no longer a finite number",
                found=f"{value} in epoch {self.state.epoch + 1}, step {self.state.step + 1}",
                remedy="lower training.learning_rate, or check every feature: itm check --full",
            )
        self.state.loss_sum += value

    def _average(self) -> None:
        """Take the weights into their mean, in the last steps, as many as the recipe's share."""
        if self.averaged is None:
            return
        training, done = self.recipe.training, self.state.epoch * self.steps + self.state.step
        total = training.epochs * self.steps
        if total - done < max(1, round(training.averaging * total)):
            self.averaged.update_parameters(self.matcher)

    def _constraints(self) -> ConstraintSettings | None:
        constraints = self.recipe.constraints
        return constraints if self.state.epoch >= constraints.from_epoch else None

    def _number(self, step: int) -> int:
        """Return a number that no other step of this run has, the same when resumed."""
        words = np.random.SeedSequence([self.seed, self.state.epoch, step])
        return int(words.generate_state(1, np.uint64)[0] >> 1)

    def _batch(self, chosen: np.ndarray, step: int) -> Batch:
        """Return the pairs, longest caption first, with what training leaves out left out."""
        captions = self._shortened(chosen, step)
        order = longest_first(captions)
        ids, lens = pad([captions[i] for i in order])
        image = self.pairs.image_of[chosen][order]
        features, region_lens = self._features(image, step)
        return Batch(
            features,
            ids.to(self.device),
            lens,
            torch.from_numpy(image),
            region_lens,
            None if self.pairs.stop is None else torch.tensor(self.pairs.stop),
        )

    def _features(self, image: np.ndarray, step: int) -> tuple[Tensor, Tensor | None]:
        """Return the features of images on the device, and their numbers of regions if cut."""
        rate, lens = self.recipe.training.region_dropout, None
        if self.held is None:
            features = torch.from_numpy(images_of(self.pairs.features, image))
        else:
            features = self.held[torch.from_numpy(image).to(self.device)].float()
        if rate:
            draw = np.random.RandomState(self._number(step) % (1 << 32))
            kept, count = drop_regions(features.cpu().numpy(), rate, draw)
            features, lens = torch.from_numpy(kept), torch.from_numpy(count)
        return features.to(self.device), lens

    def _shortened(self, chosen: np.ndarray, step: int) -> list[Sequence[int]]:
        """Return the captions, with words dropped where the recipe drops any."""
        pairs, training = self.pairs, self.recipe.training
        if not training.token_dropout:
            return [pairs.captions[i] for i in chosen]
        draw = Random(self._number(step))
        rate, mask, spare = training.token_dropout, pairs.mask, training.keep_special_tokens
        if pairs.units is None:
            captions = [pairs.captions[i] for i in chosen]
            return [drop_tokens(c, rate, mask, draw, keep_special_tokens=spare) for c in captions]
        kept: list[Sequence[int]] = []
        every = range(pairs.vocabulary)
        for i in chosen:
            start, *_, end = pairs.captions[i]
            kept.append([start, *drop_words(pairs.units[i], rate, mask, every, draw), end])
        return kept

    def _show(self, bar: tqdm) -> None:
        state = self.state
        shown = {"epoch": f"{min(state.epoch + 1, self.recipe.training.epochs)}"}
        if state.step:
            shown["loss"] = f"{state.loss_sum / state.step:.2f}"
        if state.curve:
            shown["rSum"] = f"{state.curve[-1]['rsum']:.1f}"
        bar.set_postfix(shown, refresh=False)

    def _checkpoint_if_due(self) -> None:
        asked = self.group.any(self.stop.is_set())  # all stop after the same step
        if asked or time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
            self.checkpoint()
        self._stop_if(asked)

    def _stop_if(self, asked: bool) -> None:
        if asked:
            self.group.broadcast(None)  # nobody leaves before the first one has written the state
            raise KeyboardInterrupt(f"stopped; the state is kept in {self.folder}")

    def checkpoint(self) -> None:
        """Save weights, optimiser, random state and progress, whole or not at all."""
        if not self.group.first:  # the others' state is the same
            return
        cuda = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        content: dict[str, Any] = {
            "matcher": self.matcher.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": cuda,
            "progress": vars(self.state),
        }
        with whole_file(self.folder / "state.pt") as partial:
            torch.save(content, partial)
        self.saved_at = time.monotonic()

    def _resume(self) -> None:
        self._load_state()
        here = self.state.epoch, self.state.step
        first = self.group.broadcast(here)
        if self.group.any(here != first):  # and nobody goes on before all have read it
            raise InputError(
                "the processes do not see the same checkpoint",
                file=self.folder,
                expected=f"(epoch, step) {first} in all of them",
                found=here,
                remedy="the run store must be a folder that all machines share",
            )

    def _load_state(self) -> None:
        path = self.folder / "state.pt"
        with reading(path):
            if not path.exists():
                return
            path.open("rb").close()
        try:
            content = torch.load(path, map_location=self.device, weights_only=True)
            self.matcher.load_state_dict(content["matcher"])
            self.optimiser.load_state_dict(content["optimiser"])
            if self.averaged is not None:
                self.averaged.load_state_dict(content["averaged"])
            torch.set_rng_state(content["random"].cpu())
            if content["random_cuda"] and self.device.type == "cuda":
                torch.cuda.set_rng_state(content["random_cuda"][0].cpu(), self.device)
            self.state = Progress(**content["progress"])
        except Exception as error:  # whatever a damaged file makes the reader raise
            raise InputError(
                "the checkpoint cannot be read",
                file=path,
                found=str(error).split("\n")[0],
                remedy=f"delete {self.folder} to train this run from its beginning",
            ) from error


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
