"""Time and memory of a training step at the size of Flickr30K's batches, a process for each.

36 regions, 8-20 words, the recipe's own widths; a step is the trainer's: gradient, its clipping
and the optimiser, on a batch that is on the device already. Every recipe runs twice, with all
negatives (as in epochs of warm-up) and with the hardest alone, each in a process of its own, since
the peak of a process never falls. The first step is not timed: it makes the optimiser's state.

Page: "What it costs".
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median

import torch
from torch import nn

from itm_book.bench import alone
from itm_book.bench.methods import LONGEST, REGIONS, SHORTEST
from itm_core.environment import pick_device
from itm_core.evaluation import scoring
from itm_core.experiments import recipes
from itm_core.experiments.recipes import Recipe
from itm_core.models import Matcher
from itm_core.settings import at_least, one_of
from itm_core.training.gradients import Batch, gradient_step
from itm_core.training.optimisation import make_optimiser

RECIPES: tuple[str, ...] = (
    "scan-t2i-mean-f30k",
    "scan-i2t-mean-f30k",
    "bfan-prob-f30k",
    "saf-f30k",
    "sgr-f30k",
)
RECIPES += ("imram-full-f30k", "chan-f30k", "rcar-t2i-f30k", "rcar-i2t-f30k", "rcr-i2t-f30k")
NEGATIVES = ("all", "hardest")
PRECISIONS = ("float32", "tf32")
REPEATS = {"cpu": 3, "cuda": 20}
FEATURES, WORDS = 2048, 8482
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is measured, and on what.

    Attributes:
        recipe: its name.
        negatives: ``all`` of a batch, or the ``hardest`` alone.
        batch: pairs of a step.
        device: ``cpu`` or ``cuda``.
        precision: ``float32`` or ``tf32``, which on a CPU is float32.
        repeats: steps that are timed, by default as many as `REPEATS` has for the device.
        tile: floats of the largest tensor that a tile may hold; by default the device's own.
    """

    recipe: str
    negatives: str
    batch: int = 128
    device: str = "cpu"
    precision: str = "float32"
    repeats: int | None = None
    tile: int | None = None

    def __post_init__(self) -> None:
        recipes.get(self.recipe)
        one_of("negatives", self.negatives, NEGATIVES)
        one_of("precision", self.precision, PRECISIONS)
        at_least("batch", self.batch, 2)
        for name in ("repeats", "tile"):
            if getattr(self, name) is not None:
                at_least(name, getattr(self, name), 1)
        pick_device(self.device)


@dataclass(frozen=True, kw_only=True)
class StepTiming:
    """What a step took.

    Attributes:
        seconds: the median.
        peak: GiB of memory at its largest, of the process (CPU) or of what torch allocated (CUDA).
        before: GiB before the first step: matcher and batch, on a CPU also Python and torch.
        tile: floats of the largest tensor that a tile might hold.
    """

    recipe: str
    negatives: str
    batch: int
    precision: str
    seconds: float
    peak: float
    before: float
    tile: int
    repeats: int

    def line(self) -> str:
        """Return the numbers in a line."""
        return (
            f"{self.recipe}, {self.negatives} negatives: {self.seconds:.4g} s a step of "
            f"{self.batch} pairs, {self.peak:.2f} GiB at most ({self.before:.2f} before), "
            f"{self.precision}, {self.repeats} repeats"
        )


def step_all(asked: Sequence[Asked]) -> Iterator[StepTiming]:
    """Yield what each took, one after the other, in processes of their own."""
    for one in asked:
        told = alone.answer(
            "itm_book.bench.training",
            [asdict(one), torch.get_num_threads()],
            what=f"{one.recipe} with {one.negatives} negatives",
            remedy="a smaller --batch or --tile, or leave this recipe out",
        )
        yield StepTiming(**told)


def measure(asked: Asked) -> StepTiming:
    """Return what a step takes; for a process of its own."""
    torch.manual_seed(0)
    device, recipe = torch.device(asked.device), recipes.get(asked.recipe)
    wide = FEATURES + (30 if recipe.encoder.positions != "none" else 0)
    matcher = recipe.build(wide, WORDS, REGIONS).to(device).train()
    optimiser = make_optimiser(matcher, recipe.training)
    batch = random_batch(asked.batch, wide, device)
    before = alone.peak(device)
    repeats = asked.repeats or REPEATS[device.type]
    times = [_seconds(matcher, optimiser, batch, recipe, asked) for _ in range(1 + repeats)]
    return StepTiming(
        recipe=asked.recipe,
        negatives=asked.negatives,
        batch=asked.batch,
        precision=asked.precision,
        seconds=median(times[1:]),
        peak=alone.peak(device) / GIB,
        before=before / GIB,
        tile=scoring.tile_floats(matcher, device),
        repeats=repeats,
    )


def _seconds(
    matcher: Matcher,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    recipe: Recipe,
    asked: Asked,
) -> float:
    """Return the seconds of a step, from a device without work to one without work."""
    device = batch.features.device
    _wait(device)
    started = time.perf_counter()
    optimiser.zero_grad(set_to_none=True)
    with scoring.matmul_precision(device, asked.precision):
        gradient_step(
            matcher,
            batch,
            recipe.loss,
            hardest=asked.negatives == "hardest",
            constraints=recipe.constraints,
            generator=torch.Generator().manual_seed(0),
        )
    nn.utils.clip_grad_norm_(matcher.parameters(), recipe.training.grad_clip)
    optimiser.step()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def random_batch(size: int, wide: int, device: torch.device) -> Batch:
    """Return random pairs, the longest caption first."""
    lens = torch.randint(SHORTEST, LONGEST + 1, (size,)).sort(descending=True).values
    tokens = torch.randint(4, WORDS, (size, LONGEST)) * (torch.arange(LONGEST) < lens[:, None])
    features = torch.randn(size, REGIONS, wide).relu()
    if wide > FEATURES:
        features[..., -30:-15] = torch.randint(0, 256, (size, REGIONS, 15)).float()
        features[..., -15:] = 1 / 15
    tokens = tokens[:, : int(lens[0])].to(device)
    return Batch(features.to(device), tokens, lens, torch.arange(size))


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m itm_book.bench.training")
    parser.add_argument("asked", type=json.loads)
    given, threads = parser.parse_args().asked
    asked = Asked(**given)
    torch.set_num_threads(threads)
    if asked.tile:
        scoring.CACHE_TILE = scoring.VECTOR_TILE = scoring.MEMORY_TILE = asked.tile
    print(json.dumps(asdict(measure(asked))))


if __name__ == "__main__":
    _main()
