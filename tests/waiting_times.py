"""What it costs that waiting threads sleep, or spin, on a quiet machine and on a busy one.

    python -m tests.waiting_times [--beside 4] [--rounds 5]

The threads of an operation wait for the slowest of them. Each policy is timed in a new process, in
turn with the others: a training step of two recipes at D 256 with 32 pairs, and the scoring of 64 x
64 fragments, with one thread a core. ``--beside N`` keeps N other processes busy meanwhile. Printed
are medians over the rounds of each process's median, and their ratio to what torch does by default.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from statistics import median
from subprocess import Popen, run

import torch

from itm_book.bench.training import FEATURES, WORDS, random_batch
from itm_core.encoders.fragments import Fragments, l2norm
from itm_core.evaluation.scoring import score_fragments
from itm_core.experiments import recipes
from itm_core.training.optimisation import make_optimiser, train_step

POLICIES: dict[str, dict[str, str]] = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    **{f"spin {n}": {"GOMP_SPINCOUNT": str(n)} for n in (1000, 3000, 10000)},
}
RECIPES, WIDTH, PAIRS, SCORED, REGIONS, LENGTH = ("scan-t2i-mean", "rcar-t2i"), 256, 32, 64, 36, 14
SECONDS = 3.0  # of each measurement
# torch first: the package would set the policy that is measured
PROGRAM = "import torch, runpy; runpy.run_module('tests.waiting_times', run_name='__main__')"


def measure() -> dict[str, float]:
    """Return the median seconds of each operation in this process."""
    torch.manual_seed(0)
    return {
        f"{what} of {name}": seconds(action)
        for name in RECIPES
        for what, action in operations(name).items()
    }


def operations(name: str) -> dict[str, Callable[[], object]]:
    """Return a training step and the scoring of a block, of one recipe."""
    recipe = recipes.get(f"{name}-f30k").replace(f"encoder.embedding={WIDTH}")
    matcher = recipe.build(FEATURES, WORDS, REGIONS).train()
    optimiser = make_optimiser(matcher, recipe.training)
    batch = random_batch(PAIRS, FEATURES, torch.device("cpu"))
    regions, words = (
        Fragments(l2norm(torch.randn(SCORED, n, WIDTH)), torch.full((SCORED,), n))
        for n in (REGIONS, LENGTH)
    )

    def step() -> None:
        matcher.train()
        train_step(matcher, optimiser, batch, recipe.loss, recipe.training, hardest=True)

    @torch.inference_mode()
    def score() -> None:
        matcher.eval()
        score_fragments(matcher, [regions], words)

    return {"step": step, "scores": score}


def seconds(action: Callable[[], object]) -> float:
    """Return the median time of what is repeated for `SECONDS`, after two that are not timed."""
    action(), action()
    times: list[float] = []
    while sum(times) < SECONDS:
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return median(times)


def in_a_process(policy: str) -> dict[str, float]:
    """Return what `measure` finds in a new process with this policy alone."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    done = run(
        [sys.executable, "-c", PROGRAM, "--one"],
        env=environment | POLICIES[policy],
        capture_output=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Time every policy in turn, and print each operation's medians."""
    parser = argparse.ArgumentParser(prog="python -m tests.waiting_times")
    parser.add_argument("--beside", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", action="store_true")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure()))
        return
    busy = [Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.beside)]
    try:
        rounds = [{p: in_a_process(p) for p in POLICIES} for _ in range(options.rounds)]
    finally:
        for process in busy:
            process.kill()
    for operation in rounds[0]["default"]:
        middle = {p: median(each[p][operation] for each in rounds) for p in POLICIES}
        cells = (f"{p} {s * 1e3:.1f} ms (x {s / middle['default']:.2f})" for p, s in middle.items())
        print(f"{operation}: {', '.join(cells)}")


if __name__ == "__main__":
    main()
