"""Benchmark: SCAN's scoring beside its plain twin and the bare matrix product.

    python -m tests.bench_scoring [--threads 2] [--repeats 7]

100 images x 500 captions, 36 regions, 8-20 words, D = 1024; the three are run in turn, so that
a machine that slows down slows all of them, and medians are compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from itm_core.encoders import EncoderSettings
from itm_core.fragments import Fragments, l2norm
from itm_core.matchers import Scan, ScanSettings
from itm_core.scoring import IMAGES_PER_TILE, score_fragments
from tests.twins import scan_scores

IMAGES, CAPTIONS, REGIONS, WIDTH = 100, 500, 36, 1024


def main() -> None:
    """Print times and ratios of both directions."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    regions = l2norm(torch.randn(IMAGES, REGIONS, WIDTH))
    lens = torch.randint(8, 21, (CAPTIONS,))
    words = l2norm(torch.randn(CAPTIONS, 20, WIDTH)) * (torch.arange(20) < lens[:, None])[..., None]
    packed = torch.cat([w[:n] for w, n in zip(words, lens, strict=True)])
    print(f"{IMAGES} x {CAPTIONS}, {len(packed)} words, D {WIDTH}, {given.threads} threads")
    for direction, temperature in (("t2i", 9.0), ("i2t", 4.0)):
        settings = ScanSettings(direction=direction, attention_temperature=temperature)
        race(regions, words, lens, packed, settings, given.repeats)


@torch.no_grad()
def race(
    regions: Tensor, words: Tensor, lens: Tensor, packed: Tensor, settings: ScanSettings, n: int
) -> None:
    """Print the medians of one direction, and the two ratios."""
    matcher = Scan(1, 1, EncoderSettings(embedding=1, word_width=1), settings)
    flat = regions.flatten(0, 1).T.contiguous()

    def ours() -> Tensor:
        chunks = [Fragments.of(chunk) for chunk in regions.split(IMAGES_PER_TILE)]
        return score_fragments(matcher, chunks, Fragments.of(words, lens))

    def twin() -> Tensor:
        return scan_scores(
            regions,
            words,
            lens.tolist(),
            direction=settings.direction,
            attention_temperature=settings.attention_temperature,
        )

    error = (ours() - twin()).abs().max().item()
    times = _in_turn([ours, twin, lambda: packed @ flat], n)
    mine, slow, bare = (median(t) for t in times)
    print(
        f"{settings.direction}: ours {mine:.3f} s, twin {slow:.3f} s, bare product {bare:.3f} s; "
        f"{slow / mine:.1f} x the twin's speed, {mine / bare:.2f} x the bare product's time; "
        f"largest difference of scores {error:.0e}"
    )


def _in_turn(functions: list[Callable[[], Tensor]], repeats: int) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, took in zip(functions, times, strict=True):
            started = time.perf_counter()
            function()
            took.append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    main()
