"""Time and memory of ``score_matrix`` against the number of images; one process per size.

Features are memory-mapped from a sparse file, as a dataset's are; the captions stay the same. The
time of exact scoring is fitted by a power of the number of images (one when it is linear). Memory
should stop growing once the budget of encoded images is full.

Page: "What it costs".
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from itm_book.bench.isolated import peak_bytes, run_isolated
from itm_book.bench.methods import LONGEST, METHODS, REGIONS, SHORTEST
from itm_core.evaluation.scoring import score_matrix
from itm_core.models import Attending
from itm_core.regulators import regulator_factory

FEATURES, WORDS = 64, 1000  # widths that cost next to nothing
IMAGES = (1000, 2000, 4000, 8000, 16000)
CAPTIONS = 50
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class ScalingPoint:
    """Time and memory of one method at one number of images.

    Attributes:
        seconds: time of scoring, encoding included.
        peak: peak memory in MiB, of the process (CPU) or of the device (CUDA).
        before: memory in MiB before scoring began.
    """

    method: str
    images: int
    captions: int
    seconds: float
    peak: float
    before: float

    def line(self) -> str:
        """Return the numbers as one line of text."""
        return (
            f"{self.method}, {self.images} x {self.captions}: {self.seconds:.2f} s, "
            f"{self.peak:.0f} MiB at most ({self.before:.0f} before)"
        )


def time_growth(
    methods: Sequence[str],
    images: Sequence[int] = IMAGES,
    captions: int = CAPTIONS,
    device: str = "cpu",
) -> Iterator[ScalingPoint]:
    """Yield time and memory of each method at each number of images, each in its own process."""
    for name in methods:
        for count in images:
            measured = run_isolated(
                "itm_book.bench.growth",
                [name, count, captions, device, torch.get_num_threads()],
                label=f"{name} on {count} images",
                remedy="choose fewer --images",
            )
            yield ScalingPoint(**measured)


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return p of the least-squares fit of ``log(seconds) = log(c) + p * log(sizes)``.

    >>> round(exponent([1, 2, 4], [3, 6, 12]), 6)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def measure(name: str, images: int, captions: int, device_name: str) -> ScalingPoint:
    """Return time and memory of one method at one number of images; call it in a new process."""
    torch.manual_seed(0)
    method = METHODS[name]
    encoder = method.encoder.replace(embedding=1024, word_width=300)
    regulator = regulator_factory(method.regulator)
    matcher = Attending(FEATURES, WORDS, encoder, method.settings, regulator, REGIONS)
    rng = np.random.default_rng(0)
    lens = rng.integers(SHORTEST, LONGEST + 1, captions)
    tokens = [rng.integers(4, WORDS, n).tolist() for n in lens]
    with tempfile.TemporaryDirectory() as folder:
        shape = (images, REGIONS, FEATURES)
        path = Path(folder) / "ims.npy"
        np.lib.format.open_memmap(path, "w+", np.float32, shape).flush()
        features = np.load(path, mmap_mode="r")
        device = torch.device(device_name)
        matcher.eval().to(device)
        score_matrix(matcher, features[:64], tokens[:4])
        before, started = peak_bytes(device), time.perf_counter()
        score_matrix(matcher, features, tokens)
        seconds = time.perf_counter() - started
        peak = peak_bytes(device)
    return ScalingPoint(
        method=name,
        images=images,
        captions=captions,
        seconds=seconds,
        peak=peak / MIB,
        before=before / MIB,
    )


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m itm_book.bench.growth")
    parser.add_argument("argument", type=json.loads)
    name, images, captions, device, threads = parser.parse_args().argument
    torch.set_num_threads(threads)
    print(json.dumps(asdict(measure(name, images, captions, device))))


if __name__ == "__main__":
    _main()
