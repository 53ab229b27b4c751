"""Time and memory of a training step at the size of Flickr30K's batches, each in its own process.

36 regions, 8-20 words, the recipe's own widths; a step is the trainer's: gradient, clipping and
optimiser, on a batch that is already on the device. Every recipe is measured twice, with all
negatives (as in warm-up epochs) and with the hardest only, each in its own process, since the peak
memory of a process never falls. The first step is not timed: it allocates the optimiser's state.

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

from itm_book.bench.isolated import peak_bytes, run_isolated
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
class StepSettings:
    """Recipe, batch and device of a benchmark of training steps.

    Attributes:
        recipe: name of the recipe.
        negatives: ``all`` negatives of a batch, or the ``hardest`` only.
        batch: pairs per step.
        device: ``cpu`` or ``cuda``.
        precision: ``float32`` or ``tf32``, which on a CPU is float32.
        repeats: number of timed steps; by default `REPEATS` of the device.
        tile: largest tensor of a tile in floats; by default that of the device.
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
    """Time and memory of a training step.

    Attributes:
        seconds: median time of a step.
        peak: peak memory in GiB, of the process (CPU) or allocated by torch (CUDA).
        before: memory in GiB before the first step: matcher and batch, on a CPU also Python and
            torch.
        tile: largest tensor of a tile in floats.
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
        """Return the numbers as one line of text."""
        return (
            f"{self.recipe}, {self.negatives} negatives: {self.seconds:.4g} s a step of "
            f"{self.batch} pairs, {self.peak:.2f} GiB at most ({self.before:.2f} before), "
            f"{self.precision}, {self.repeats} repeats"
        )


def time_steps(benchmarks: Sequence[StepSettings]) -> Iterator[StepTiming]:
    """Yield the timing of each benchmark; each runs in its own process."""
    for settings in benchmarks:
        measured = run_isolated(
            "itm_book.bench.training",
            [asdict(settings), torch.get_num_threads()],
            label=f"{settings.recipe} with {settings.negatives} negatives",
            remedy="a smaller --batch or --tile, or leave this recipe out",
        )
        yield StepTiming(**measured)


def measure(settings: StepSettings) -> StepTiming:
    """Return time and memory of a training step; call it in a new process."""
    torch.manual_seed(0)
    device, recipe = torch.device(settings.device), recipes.get(settings.recipe)
    width = FEATURES + (30 if recipe.encoder.positions != "none" else 0)
    matcher = recipe.build(width, WORDS, REGIONS).to(device).train()
    optimiser = make_optimiser(matcher, recipe.training)
    batch = random_batch(settings.batch, width, device)
    before = peak_bytes(device)
    repeats = settings.repeats or REPEATS.get(device.type, REPEATS["cuda"])
    times = [_seconds(matcher, optimiser, batch, recipe, settings) for _ in range(1 + repeats)]
    return StepTiming(
        recipe=settings.recipe,
        negatives=settings.negatives,
        batch=settings.batch,
        precision=settings.precision,
        seconds=median(times[1:]),
        peak=peak_bytes(device) / GIB,
        before=before / GIB,
        tile=scoring.tile_floats(matcher, device, graph=True),
        repeats=repeats,
    )


def _seconds(
    matcher: Matcher,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    recipe: Recipe,
    settings: StepSettings,
) -> float:
    """Return the seconds of a step, with the device synchronised before and after."""
    device = batch.features.device
    _synchronise(device)
    started = time.perf_counter()
    optimiser.zero_grad(set_to_none=True)
    with scoring.matmul_precision(device, settings.precision):
        gradient_step(
            matcher,
            batch,
            recipe.loss,
            hardest=settings.negatives == "hardest",
            constraints=recipe.constraints,
            generator=torch.Generator().manual_seed(0),
        )
    nn.utils.clip_grad_norm_(matcher.parameters(), recipe.training.grad_clip)
    optimiser.step()
    _synchronise(device)
    return time.perf_counter() - started


def _synchronise(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device.type).synchronize()


def random_batch(size: int, width: int, device: torch.device) -> Batch:
    """Return ``size`` random pairs with features ``[size, 36, width]``, longest caption first."""
    lens = torch.randint(SHORTEST, LONGEST + 1, (size,)).sort(descending=True).values
    tokens = torch.randint(4, WORDS, (size, LONGEST)) * (torch.arange(LONGEST) < lens[:, None])
    features = torch.randn(size, REGIONS, width).relu()
    if width > FEATURES:
        features[..., -30:-15] = torch.randint(0, 256, (size, REGIONS, 15)).float()
        features[..., -15:] = 1 / 15
    tokens = tokens[:, : int(lens[0])].to(device)
    return Batch(features.to(device), tokens, lens, torch.arange(size))


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m itm_book.bench.training")
    parser.add_argument("argument", type=json.loads)
    values, threads = parser.parse_args().argument
    settings = StepSettings(**values)
    torch.set_num_threads(threads)
    if settings.tile:
        scoring.CACHE_TILE = scoring.VECTOR_TILE = settings.tile
        scoring.GRAPH_TILE = scoring.MEMORY_TILE = settings.tile
    print(json.dumps(asdict(measure(settings))))


if __name__ == "__main__":
    _main()
