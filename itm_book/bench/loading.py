"""Benchmark: memory and speed of loading at the size of MSCOCO's training split.

    itm bench loading [--images 113287] [--batches 300] [--steps 5] [--dense]
        [--recipe scan-t2i-mean-coco] [--device cpu] [--feature-cache auto] [--folder DIR]

Writes a file of 36 x 2048 float32 regions for every image (33 GB at the default; sparse, so it
takes no disk space unless ``--dense``) with five captions each, loads it with the validation of
every dataset, then makes batches without training, then trains. Memory is sampled every 50 ms.
Three numbers are printed:

* resident: all pages of the process in memory, those of mapped files included (psutil's rss);
* private: without the pages of files (rss - shared);
* unique: psutil's uss, which includes a mapped file that no other process reads.

A sparse file reads as zeros without disk access, so the batches per second are those of a file in
the page cache; ``--dense`` with files larger than memory measures the disk.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from itm_core.data.dataset import load_split
from itm_core.data.vocabulary import Vocabulary
from itm_core.experiments import recipes
from itm_core.experiments.weights import save_matcher
from itm_core.training.batches import Pairs
from itm_core.training.trainer import Trainer

REGIONS, WIDTH = 36, 2048
WORDS = 9000  # distinct words in the captions
EVERY = 0.05  # seconds between two samples of the memory
USS_EVERY = 40  # samples between two readings of unique pages, which pause the process
GIB = 2**30


@dataclass
class Memory:
    """Peak memory of this process so far, in bytes."""

    resident: int = 0
    private: int = 0
    unique: int = 0
    samples: int = 0

    def sample(self) -> None:
        """Update the peaks with the current memory."""
        memory = psutil.Process().memory_info()
        self.resident = max(self.resident, memory.rss)
        self.private = max(self.private, memory.rss - memory.shared)
        if self.samples % USS_EVERY == 0:
            self.unique = max(self.unique, psutil.Process().memory_full_info().uss)
        self.samples += 1

    def line(self) -> str:
        """Return the three numbers in GiB."""
        return (
            f"resident {self.resident / GIB:.2f} GiB, private {self.private / GIB:.2f}, "
            f"unique {self.unique / GIB:.2f}"
        )


@contextmanager
def watched(name: str) -> Iterator[Memory]:
    """Sample the memory during a block, then print its time and peaks."""
    memory, ended = Memory(), threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY):
            memory.sample()

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        yield memory
    finally:
        seconds = time.perf_counter() - started
        ended.set()
        watcher.join()
        memory.sample()
        print(f"{name}: {seconds:.1f} s; {memory.line()}", flush=True)


def write_split(folder: Path, images: int, *, dense: bool) -> None:
    """Write a training split of random captions, and of zeros or random features."""
    rng = np.random.default_rng(0)
    shape = (images, REGIONS, WIDTH)
    regions = np.lib.format.open_memmap(folder / "train_ims.npy", "w+", np.float32, shape)
    if dense:
        for start in range(0, images, 256):
            part = regions[start : start + 256]
            part[:] = rng.random(part.shape, np.float32)
    regions.flush()
    del regions
    words = np.array([f"word{i}" for i in range(WORDS)])
    with (folder / "train_caps.txt").open("w") as file:
        for _ in range(images):
            lens = rng.integers(8, 15, 5)
            file.writelines(" ".join(words[rng.integers(WORDS, size=n)]) + " .\n" for n in lens)


def load(folder: Path) -> tuple[Vocabulary, Pairs]:
    """Return the vocabulary and the pairs of the split, as a training run builds them."""
    with watched("loading and validation"):
        split = load_split(folder, "train")
    with watched("vocabulary and captions"):
        vocabulary = Vocabulary.from_captions(split.captions)
        captions = [vocabulary.encode(caption) for caption in split.captions]
    print(f"  {len(captions)} captions, {len(vocabulary)} words")
    return vocabulary, Pairs(split.features, captions, split.caption_image)


def make_batches(trainer: Trainer, count: int) -> None:
    """Make batches without training on them, and print how many per second."""
    with watched(f"{min(count, trainer.steps)} batches of {trainer.recipe.training.batch}"):
        started = time.perf_counter()
        with closing(trainer.batches.epoch(0, last=count)) as ready:
            batch_count = sum(1 for _ in ready)
        print(f"  {batch_count / (time.perf_counter() - started):.1f} batches a second")


def train(trainer: Trainer, count: int) -> None:
    """Train ``count`` steps, and print how much of the time was spent waiting for batches."""
    steps = min(count, trainer.steps)
    trainer.matcher.train()
    with watched(f"{steps} steps of {trainer.recipe.name}"):
        started, stepping = time.perf_counter(), 0.0
        with closing(trainer.batches.epoch(0, last=count)) as ready:
            for batch in ready:
                before = time.perf_counter()
                trainer._step(batch)
                if trainer.device.type == "cuda":
                    torch.cuda.synchronize()
                stepping += time.perf_counter() - before
                trainer.state.step += 1
        seconds = time.perf_counter() - started
        print(f"  {seconds / steps:.2f} s a step, {1 - stepping / seconds:.1%} of it waiting")


def measure(options: argparse.Namespace) -> None:
    """Write the file and print time and memory of each part."""
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        write_split(folder, options.images, dense=options.dense)
        on_disk = (folder / "train_ims.npy").stat()
        size, allocated = on_disk.st_size / 1e9, on_disk.st_blocks * 512 / 1e9
        print(f"{size:.1f} GB of features, {allocated:.2f} GB of disk space used")
        vocabulary, pairs = load(folder)
        change = f"training.feature_cache={options.feature_cache}"
        recipe = recipes.get(options.recipe).replace(change)
        matcher = recipe.build(WIDTH, len(vocabulary), REGIONS).to(options.device)
        with watched("the trainer"):
            trainer = Trainer(
                matcher,
                pairs,
                recipe,
                seed=0,
                folder=folder,
                score_dev=lambda _: {"rsum": 0.0},
                save=save_matcher,
                progress=False,
            )
        make_batches(trainer, options.batches)
        train(trainer, options.steps)
        source = "read from disk" if trainer.batches.cache is None else "cached"
        print(f"features {source}, device {trainer.device}")
