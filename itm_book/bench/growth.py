"""Time and memory as the gallery grows: ``score_matrix`` on ever more images, a process for each.

Features lie in a sparse file, which is read as a dataset's is; captions stay the same. The cost of
exact scoring grows like the number of images to a power that is fitted here (one, if nothing
else grows), memory should stop growing when the budget of held images is full.

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

from itm_book.bench import alone
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
    """What one size of the gallery took.

    Attributes:
        seconds: of scoring, encoding included.
        peak: MiB of memory at its largest, of the process (CPU) or of the device (CUDA).
        before: MiB before scoring began.
    """

    method: str
    images: int
    captions: int
    seconds: float
    peak: float
    before: float

    def line(self) -> str:
        """Return the numbers in a line."""
        return (
            f"{self.method}, {self.images} x {self.captions}: {self.seconds:.2f} s, "
            f"{self.peak:.0f} MiB at most ({self.before:.0f} before)"
        )


def grow(
    methods: Sequence[str],
    images: Sequence[int] = IMAGES,
    captions: int = CAPTIONS,
    device: str = "cpu",
) -> Iterator[ScalingPoint]:
    """Yield what each method took on each gallery; processes of their own, so no peak is shared."""
    for name in methods:
        for count in images:
            asked = [name, count, captions, device, torch.get_num_threads()]
            told = alone.answer(
                "itm_book.bench.growth",
                asked,
                what=f"{name} on {count} images",
                remedy="ask for fewer images",
            )
            yield ScalingPoint(**told)


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return p of the best fit ``seconds = c * sizes ** p``, least squares of the logarithms.

    >>> round(exponent([1, 2, 4], [3, 6, 12]), 6)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def measure(name: str, images: int, captions: int, device: str) -> ScalingPoint:
    """Return what one method takes on one gallery; for a process of its own."""
    torch.manual_seed(0)
    method = METHODS[name]
    encoder = method.encoder.replace(embedding=1024, word_width=300)
    regulator = regulator_factory(method.regulator)
    matcher = Attending(FEATURES, WORDS, encoder, method.settings, regulator, REGIONS)
    draw = np.random.default_rng(0)
    lens = draw.integers(SHORTEST, LONGEST + 1, captions)
    tokens = [draw.integers(4, WORDS, n).tolist() for n in lens]
    with tempfile.TemporaryDirectory() as folder:
        shape = (images, REGIONS, FEATURES)
        place = Path(folder) / "ims.npy"
        np.lib.format.open_memmap(place, "w+", np.float32, shape).flush()
        features = np.load(place, mmap_mode="r")
        there = torch.device(device)
        matcher.eval().to(there)
        score_matrix(matcher, features[:64], tokens[:4])
        before, started = alone.peak(there), time.perf_counter()
        score_matrix(matcher, features, tokens)
        seconds = time.perf_counter() - started
        peak = alone.peak(there)
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
    parser.add_argument("asked", type=json.loads)
    name, images, captions, device, threads = parser.parse_args().asked
    torch.set_num_threads(threads)
    print(json.dumps(asdict(measure(name, images, captions, device))))


if __name__ == "__main__":
    _main()
