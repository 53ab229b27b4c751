"""Benchmark: time and memory of one training step at the size of Flickr30K's batches.

    itm bench training [RECIPE ...] [--batch 128] [--device cuda] [--tile FLOATS]

36 regions, 8-20 words, the recipe's own width. Every recipe runs in a process of its own, so
that peaks do not mix: once with all negatives (the costlier step of warm-up), once with the
hardest. On a GPU the peak is what torch allocated; on a CPU it is that of the whole process,
and ``--tile`` sets how many floats a tile may hold there (a GPU's default is 64 million).
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch

from itm_core import recipes, scoring
from itm_core.gradients import Batch, gradient_step
from itm_core.training import make_optimiser

RECIPES: tuple[str, ...] = (
    "scan-t2i-mean-f30k",
    "scan-i2t-mean-f30k",
    "bfan-prob-f30k",
    "saf-f30k",
    "sgr-f30k",
)
RECIPES += ("imram-full-f30k", "chan-f30k", "rcar-t2i-f30k", "rcar-i2t-f30k", "rcr-i2t-f30k")
FEATURES, WORDS, REGIONS = 2048, 8482, 36


def measure(given: argparse.Namespace) -> None:
    """Print one line for each recipe."""
    for name in given.recipes or RECIPES:
        if given.alone:
            print(measured(name, given.batch, torch.device(given.device), given.tile))
        else:
            command = [sys.executable, "-m", "itm_core", "bench", "training", name, "--alone"]
            command += ["--batch", str(given.batch), "--device", given.device]
            command += ["--tile", str(given.tile)] if given.tile else []
            subprocess.run(command, check=True)


def measured(name: str, size: int, device: torch.device, tile: int | None) -> str:
    """Return times and peaks of two steps of one recipe."""
    if tile:
        scoring.CACHE_TILE = scoring.VECTOR_TILE = tile
    torch.manual_seed(0)
    recipe = recipes.get(name)
    wide = FEATURES + (30 if recipe.encoder.positions != "none" else 0)
    matcher = recipe.build(wide, WORDS, REGIONS).to(device).train()
    optimiser = make_optimiser(matcher, recipe.training)
    batch = random_batch(size, wide, device)
    said = [f"{name}:"]
    for hardest in (False, True):
        before = peak(device, reset=True)
        started = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        gradient_step(matcher, batch, recipe.loss, hardest=hardest)
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        took = time.perf_counter() - started
        kind = "hardest negatives" if hardest else "all negatives"
        said.append(f"{kind} {took:.2f} s, peak {peak(device):.2f} GiB (before {before:.2f});")
    return " ".join(said)


def random_batch(size: int, wide: int, device: torch.device) -> Batch:
    """Return random pairs, the longest caption first."""
    lens = torch.randint(8, 21, (size,)).sort(descending=True).values
    tokens = torch.randint(4, WORDS, (size, 20)) * (torch.arange(20) < lens[:, None])
    features = torch.randn(size, REGIONS, wide).relu()
    if wide > FEATURES:
        features[..., -30:-15] = torch.randint(0, 256, (size, REGIONS, 15)).float()
        features[..., -15:] = 1 / 15
    return Batch(features.to(device), tokens.to(device), lens, torch.arange(size))


def peak(device: torch.device, *, reset: bool = False) -> float:
    """Return the largest memory so far in GiB."""
    if device.type == "cuda":
        found = torch.cuda.max_memory_allocated(device) / 2**30
        if reset:
            torch.cuda.reset_peak_memory_stats(device)
        return found
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
