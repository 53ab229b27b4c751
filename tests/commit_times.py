"""How long a training step and scoring take in this tree and in an earlier commit, in turn.

    python -m tests.commit_times COMMIT [RECIPE ...] [--embedding 256] [--batch 32] [--rounds 3]

The commit is checked out in a temporary folder. Each measurement runs in a new process with one
thread: a training step with all negatives and with the hardest ones, and the scores of 64 x 64
fragments. Printed are medians over the rounds of each process's median, in seconds of CPU, and the
time before over the time now. What both trees lack or name differently cannot be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from statistics import median
from subprocess import run
from tempfile import TemporaryDirectory

from tests.places import PROJECT

RECIPES = (
    *("scan-t2i-mean", "scan-i2t-mean", "bfan-prob", "pfan-t2i", "saf", "sgr", "chan"),
    *("rcar-t2i-base", "rcr-t2i", "rar-t2i", "rcar-t2i", "scan-t2i-mean+ccr+ccs", "vse-gpo"),
)
# runs in either tree, so it asks for no more of the package than both have
PROGRAM = """
import json, sys, time
from statistics import median
import torch
from itm_book.bench.training import FEATURES, WORDS, random_batch
from itm_core.encoders.fragments import Fragments, l2norm
from itm_core.evaluation.scoring import score_fragments
from itm_core.experiments import recipes
from itm_core.training.optimisation import make_optimiser, train_step

name, embedding, pairs = json.loads(sys.argv[1])
torch.set_num_threads(1)
torch.manual_seed(0)
recipe = recipes.get(f"{name}-f30k").replace(f"encoder.embedding={embedding}")
width = FEATURES + (30 if recipe.encoder.positions != "none" else 0)
matcher = recipe.build(width, WORDS, 36).train()
optimiser = make_optimiser(matcher, recipe.training)
batch = random_batch(pairs, width, torch.device("cpu"))

def step(hardest):
    train_step(
        matcher, optimiser, batch, recipe.loss, recipe.training, hardest=hardest,
        constraints=recipe.constraints, generator=torch.Generator().manual_seed(0),
    )

def fragments(count):
    vectors = l2norm(torch.randn(64, count, embedding))
    lens = torch.full((64,), count)
    return Fragments(vectors, lens, pooled=vectors.mean(1))

@torch.inference_mode()
def score():
    matcher.eval()
    score_fragments(matcher, [fragments(36)], fragments(14))

def seconds(action):
    action()
    times = []
    while len(times) < 3 or sum(times) < 1:
        started = time.process_time()
        action()
        times.append(time.process_time() - started)
    return median(times)

kinds = ("all", "hardest")
found = {f"step, {kind}": seconds(lambda: step(kind == "hardest")) for kind in kinds}
print(json.dumps(found | {"scores": seconds(score)}))
"""


def in_a_process(tree: Path, argument: str) -> dict[str, float]:
    """Return the seconds of each operation in a tree; raise `RuntimeError` with the last line."""
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, argument]
    done = run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{tree.name}, {argument}: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compare(former: Path, options: argparse.Namespace) -> None:
    """Print a line for each recipe and operation."""
    for name in options.recipes or RECIPES:
        argument = json.dumps([name, options.embedding, options.batch])
        rounds = [
            [in_a_process(tree, argument) for tree in (former, PROJECT)]
            for _ in range(options.rounds)
        ]
        for operation in rounds[0][0]:
            before, now = (median(each[side][operation] for each in rounds) for side in (0, 1))
            print(
                f"{name}, {operation}: {before:.3f} s before, {now:.3f} s now "
                f"(x {before / now:.2f})",
                flush=True,
            )


def main() -> None:
    """Check the commit out, compare, and remove it."""
    parser = argparse.ArgumentParser(prog="python -m tests.commit_times")
    parser.add_argument("commit")
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--embedding", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with TemporaryDirectory() as place:
        former = Path(place) / "former"
        git = ["git", "-C", str(PROJECT), "worktree"]
        run([*git, "add", "--quiet", "--detach", str(former), options.commit], check=True)
        try:
            compare(former, options)
        finally:
            run([*git, "remove", "--force", str(former)], check=True)


if __name__ == "__main__":
    main()
