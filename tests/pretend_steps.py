"""Peak memory and waits of a training step at published size, on an accelerator that is not there.

    python -m tests.pretend_steps [RECIPE ...] [--batch 128] [--record]

`tests.pretend` is the device: it counts the bytes of the tensors that are alive, and what makes a
processor wait for an accelerator. Every step is measured in its own process, after one of four
pairs that allocates the optimiser's state. Batches are those of `itm bench training`: 36 regions of
2,048 numbers, captions of 8 to 20 words, tiles as large as on a GPU. What an operation takes inside
for a moment, and what an allocator keeps unused, is not counted.
"""

from __future__ import annotations

import argparse
import json
import sys
from subprocess import run
from typing import Any

import pandas as pd
import torch

from itm_book.bench import record
from itm_book.bench.training import FEATURES, GIB, NEGATIVES, WORDS, random_batch
from itm_core.environment import current_commit
from itm_core.experiments import recipes
from itm_core.models import Matcher
from itm_core.training.optimisation import make_optimiser, train_step
from tests import pretend

RECIPES = tuple(
    f"{name}-f30k"
    for name in (
        "scan-t2i-mean", "scan-i2t-LSE", "bfan-prob", "pfan-t2i", "pfan-i2t", "saf", "sgr",
        "imram-full", "chan", "rcar-t2i-base", "rcr-t2i", "rar-t2i", "rcar-t2i", "rcar-i2t",
        "scan-t2i-mean+ccr+ccs", "bfan-equal+rcr", "scan-t2i-mean+rcar", "vse-max", "vse-gpo",
        "vsrn",
    )
)  # fmt: skip
REGIONS = 36
SECONDS = 3600  # of a step, which is computed on the CPU


def measure(name: str, negatives: str, size: int, precision: str = "") -> dict[str, Any]:
    """Return the peak bytes and the waits of a training step; call it in a new process."""
    torch.manual_seed(0)
    recipe, device = recipes.get(name), pretend.device()
    training = recipe.training
    if precision:
        training = training.model_copy(update={"precision": precision})
    width = FEATURES + (30 if recipe.encoder.positions != "none" else 0)
    matcher: Matcher = recipe.build(width, WORDS, REGIONS).to(device).train()
    optimiser = make_optimiser(matcher, training)

    def step(pairs: int) -> None:
        batch = random_batch(pairs, width, device)
        pretend.waits.clear()
        pretend.memory.reset()
        train_step(
            matcher,
            optimiser,
            batch,
            recipe.loss,
            training,
            hardest=negatives == "hardest",
            constraints=recipe.constraints,
            generator=torch.Generator().manual_seed(0),
        )

    step(4)
    optimiser.zero_grad(set_to_none=True)
    before = pretend.memory.now
    step(size)
    return {
        "recipe": name,
        "negatives": negatives,
        "batch": size,
        "precision": training.precision,
        "peak": pretend.memory.peak / GIB,
        "before": before / GIB,
        "waits": pretend.waits.total(),
        "waits_for": ", ".join(f"{k} {v}" for k, v in sorted(pretend.waits.items())),
        "torch": torch.__version__,
        "commit": current_commit() or "",
    }


def in_a_process(name: str, negatives: str, size: int, precision: str = "") -> dict[str, Any]:
    """Return what `measure` finds in a new process; raise `RuntimeError` with its last lines."""
    argument = json.dumps([name, negatives, size, precision])
    command = [sys.executable, "-m", "tests.pretend_steps", "--one", argument]
    done = run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}, {negatives}: {done.stderr[-600:] or done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure, print a line for each step, and record it with ``--record``."""
    parser = argparse.ArgumentParser(prog="python -m tests.pretend_steps")
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", default="")
    parser.add_argument("--negatives", nargs="+", default=NEGATIVES)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--one", type=json.loads)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    for name in options.recipes:
        for negatives in options.negatives:
            row = in_a_process(name, negatives, options.batch, options.precision)
            print(
                f"{name}, {negatives} negatives, {row['precision']}: {row['peak']:.2f} GiB at most "
                f"({row['before']:.2f} before), {row['waits']} waits: {row['waits_for']}",
                flush=True,
            )
            if options.record:
                record.save("steps", pd.DataFrame([row]))


if __name__ == "__main__":
    main()
