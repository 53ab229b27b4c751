"""The training loop: schedules, warm-up, averaged weights, mixed precision, exact resume.

Interrupted anywhere and started again, a run continues from its last checkpoint and ends with
the same weights, bit for bit on a CPU: batches depend on seed, epoch and step alone, and the
checkpoint holds everything else.
"""

from __future__ import annotations

import math
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_swa_avg_fn
from tqdm.auto import tqdm

from itm_core.environment import random_state
from itm_core.errors import InputError, files_named
from itm_core.files import put, reading, require_sha256, sha256, whole_file
from itm_core.models import Matcher
from itm_core.training.batches import BatchBuilder, Pairs, batches, require_batch, step_seed
from itm_core.training.distributed import SINGLE_PROCESS, ProcessGroup
from itm_core.training.gradients import Batch
from itm_core.training.launch import signals_handled
from itm_core.training.optimisation import learning_rate, make_optimiser, train_step
from itm_core.training.settings import TrainingRecipe

CHECKPOINT_SECONDS = 60.0


@dataclass
class TrainingState:
    """How far a training has come; with weights and optimiser it is the whole state.

    Attributes:
        epoch, step: finished epochs, and finished steps of the current one.
        loss_sum, seconds: of the current epoch so far.
        best: the highest development rSum.
        best_file: the SHA-256 of the weights of its epoch; former checkpoints have none.
        curve: one row per finished epoch.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best: float = -math.inf
    best_file: str = ""
    curve: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """Trains a matcher by a recipe, with checkpoints in a folder.

    Args:
        matcher: on the device for training.
        pairs: the training pairs.
        score_dev: returns the development numbers of a matcher after an epoch, ``rsum`` among them.
        save: writes the weights of a matcher to a file.
        folder: gets ``state.pt`` (resume) and ``best.safetensors``, the first of the best epochs.
        group: the processes that train together; the first one alone scores and writes.
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
        self.matcher, self.recipe, self.seed, self.folder = matcher, recipe, seed, folder
        self.score_dev, self.save, self.group = score_dev, save, group
        self.device = next(matcher.parameters()).device
        require_batch(len(pairs.captions))
        self.batches = BatchBuilder(pairs, recipe.training, seed, self.device)
        self.steps = len(batches(pairs, recipe.training, seed, 0))  # of every epoch
        self.optimiser = make_optimiser(matcher, recipe.training)
        self.averaged: AveragedModel | None = None
        if recipe.training.averaging:  # with buffers: batch statistics belong to the weights
            # one tensor at a time: several at once, as on a GPU by default, refuse the integers
            self.averaged = AveragedModel(matcher, avg_fn=get_swa_avg_fn(), use_buffers=True)
        self.state = TrainingState()
        self.progress = progress and group.first
        self.best_path = folder / "best.safetensors"
        self.next_path = folder / "best.next.safetensors"  # until the state that names it is saved
        self.stop, self.scoring = threading.Event(), False
        self.saved_at = time.monotonic()

    def run(self) -> TrainingState:
        """Train to the last epoch and return the state, resuming an interrupted training.

        Raises KeyboardInterrupt after an interrupt or termination, with the state saved;
        `InputError` for a loss that is not finite, for a saved state of another training or that
        cannot be read, and for weights that were changed meanwhile.
        """
        self._resume()
        epochs = self.recipe.training.epochs
        with (
            signals_handled(self._interrupt),
            tqdm(
                total=epochs * self.steps,
                initial=self._finished_steps(),
                disable=not self.progress,
                unit="step",
            ) as bar,
        ):
            while self.state.epoch < epochs:
                self._train_epoch(bar)
                self._finish_epoch()
                self._show(bar)
        self._require_best()
        return self.state

    def _require_best(self) -> None:
        """Raise `InputError` when the weights of the best epoch were changed since."""
        if self.group.first and self.state.best_file:
            require_sha256(
                self.best_path,
                self.state.best_file,
                "the weights of the best epoch are not those that this training wrote",
                f"delete {self.folder} to train this run from its beginning",
            )

    def _interrupt(self, _number: int, _frame: object) -> None:
        """Finish the step at the first interrupt or termination; end at once at the second.

        Scoring the development split may take minutes: it is repeated when the run is resumed.
        """
        if self.stop.is_set():
            raise KeyboardInterrupt
        self.stop.set()
        if self.scoring and self.group.size == 1:
            self.checkpoint()
            self._stop_if(True)

    @property
    def evaluated(self) -> Matcher:
        """The matcher that is scored and saved: the average of the weights once it has begun."""
        if self.averaged is None or not self.averaged.n_averaged:
            return self.matcher
        return self.averaged.module  # type: ignore[return-value]  # a copy of the matcher

    def _train_epoch(self, bar: tqdm) -> None:
        state, training = self.state, self.recipe.training
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(training, state.epoch) * group["scale"]
        self.matcher.train()
        started = time.monotonic() - state.seconds
        with closing(self.batches.epoch(state.epoch, first=state.step)) as epoch:
            for batch in epoch:
                self._step(batch)
                state.step += 1
                self._average_weights()
                state.seconds = time.monotonic() - started
                self._show(bar)
                bar.update()
                self._checkpoint_if_due()

    def _step(self, batch: Batch) -> None:
        recipe, epoch = self.recipe, self.state.epoch
        seed = step_seed(self.seed, epoch, self.state.step)
        loss, _ = train_step(
            self.matcher,
            self.optimiser,
            batch,
            recipe.loss,
            recipe.training,
            hardest=recipe.loss.hardest and epoch >= recipe.loss.warmup_epochs,
            constraints=recipe.constraints if epoch >= recipe.constraints.from_epoch else None,
            generator=torch.Generator().manual_seed(seed),
            group=self.group,
        )
        if not math.isfinite(loss):
            raise InputError(
                "the loss is no longer a finite number",
                found=f"{loss} in epoch {epoch + 1}, step {self.state.step + 1}",
                remedy="lower training.learning_rate, or check every feature: itm check --full",
            )
        self.state.loss_sum += loss

    def _average_weights(self) -> None:
        """Add the weights to their mean, in the last steps: a fraction ``averaging`` of all."""
        if self.averaged is None:
            return
        total = self.recipe.training.epochs * self.steps
        averaged_steps = max(1, round(self.recipe.training.averaging * total))
        if total - self._finished_steps() < averaged_steps:
            self.averaged.update_parameters(self.matcher)

    def _finished_steps(self) -> int:
        return self.state.epoch * self.steps + self.state.step

    def _finish_epoch(self) -> None:
        """Score the development split, add a row to the curve, and save the best weights."""
        state, started = self.state, time.monotonic()
        self.scoring = True
        numbers = self.group.broadcast(self.score_dev(self.evaluated) if self.group.first else {})
        self.scoring = False
        seconds = state.seconds + time.monotonic() - started
        row = {"epoch": state.epoch + 1, "loss": state.loss_sum / self.steps, **numbers}
        state.curve.append(row | {"seconds": seconds})
        if numbers["rsum"] > state.best:
            state.best = numbers["rsum"]
            if self.group.first:
                self.save(self.evaluated, self.next_path)
                state.best_file = sha256(self.next_path)
        state.epoch, state.step, state.loss_sum, state.seconds = state.epoch + 1, 0, 0.0, 0.0
        self.checkpoint()
        self._keep_best()
        self._stop_if(self.group.any(self.stop.is_set()))

    def _keep_best(self) -> None:
        """Keep the weights of a new best epoch; remove those of one that is trained again."""
        if self.group.first and self.next_path.exists():
            if self.state.best_file == sha256(self.next_path):
                put(self.next_path, self.best_path)
            self.next_path.unlink(missing_ok=True)

    def _show(self, bar: tqdm) -> None:
        state = self.state
        shown = {"epoch": f"{min(state.epoch + 1, self.recipe.training.epochs)}"}
        if state.step:
            shown["loss"] = f"{state.loss_sum / state.step:.2f}"
        if state.curve:
            shown["rSum"] = f"{state.curve[-1]['rsum']:.1f}"
        bar.set_postfix(shown, refresh=False)

    def _checkpoint_if_due(self) -> None:
        stopping = self.group.any(self.stop.is_set())  # all processes stop after the same step
        if stopping or time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
            self.checkpoint()
        self._stop_if(stopping)

    def _stop_if(self, stopping: bool) -> None:
        if stopping:
            self.group.broadcast(None)  # wait until the first process has written the state
            raise KeyboardInterrupt(f"stopped; the state is kept in {self.folder}")

    def checkpoint(self) -> None:
        """Save weights, optimiser, random state and progress atomically."""
        if not self.group.first:  # the state of the others is the same
            return
        of_device = random_state(self.device)
        content: dict[str, Any] = {
            "matcher": self.matcher.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": [] if of_device is None else [of_device],  # of any device
            "progress": vars(self.state),
        }
        with whole_file(self.folder / "state.pt") as partial:
            torch.save(content, partial)
        self.saved_at = time.monotonic()

    def _resume(self) -> None:
        self._load_checkpoint()
        position = self.state.epoch, self.state.step
        first = self.group.broadcast(position)
        if self.group.any(position != first):  # also waits until all processes have read it
            raise InputError(
                "the processes read different checkpoints",
                file=self.folder,
                expected=f"(epoch, step) {first} in all of them",
                found=position,
                remedy="the run store must be a folder that all machines share",
            )
        self._keep_best()

    def _load_checkpoint(self) -> None:
        path = self.folder / "state.pt"
        with reading(path):
            if not path.exists():
                return
            path.open("rb").close()
        try:
            with zipfile.ZipFile(path) as archive:  # torch compares no checksum
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} is not as it was written")
            with files_named(path, "read"):  # a full memory says nothing of the file
                content = torch.load(path, map_location=self.device, weights_only=True)
            self.matcher.load_state_dict(content["matcher"])
            self.optimiser.load_state_dict(content["optimiser"])
            if self.averaged is not None:
                self.averaged.load_state_dict(content["averaged"])
            torch.set_rng_state(content["random"].cpu())
            for state in content["random_cuda"]:
                random_state(self.device, state)
            self.state = TrainingState(**content["progress"])
        except InputError:
            raise
        except Exception as error:  # a damaged file may raise anything
            raise InputError(
                "the checkpoint cannot be read",
                file=path,
                found=str(error).split("\n")[0],
                remedy=f"remove {path.name} from this folder: the same command then trains the run "
                "from its beginning; what was trained so far is lost",
            ) from error
