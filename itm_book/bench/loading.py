"""Benchmark: memory and speed of loading at the size of MSCOCO's training split.

    itm bench loading [--images 113287] [--batches 300] [--steps 5] [--dense]
        [--recipe scan-t2i-mean-coco] [--device cpu] [--held auto] [--folder DIR]

Makes a file of 36 x 2048 float32 regions for every image (33 GB at the default; sparse, so it
takes no room on the disk, unless ``--dense``) with five captions each, loads it with the checks of
every dataset, then makes batches with nothing to wait for, then trains. Memory is sampled every
50 ms. Three numbers of it are told:

* resident: every page of the process in memory, those of mapped files included (psutil's rss);
* own: without pages of files (rss - shared): what no other process could use;
* unique: psutil's uss, which counts a mapped file that nobody else reads as the process's own.

A sparse file reads as zeros out of nothing: batches per second are those of a file that the
system has in memory; ``--dense`` on files larger than memory shows the disk.
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
WORDS = 9000  # of which captions are made
EVERY = 0.05  # seconds between two looks at the memory
USS_EVERY = 40  # of which every so many-th counts unique pages, which holds the process up
GIB = 2**30


@dataclass
class Memory:
    """The largest memory seen so far, in bytes."""

    resident: int = 0
    own: int = 0
    unique: int = 0
    looks: int = 0

    def look(self) -> None:
        """Take another look."""
        found = psutil.Process().memory_info()
        self.resident = max(self.resident, found.rss)
        self.own = max(self.own, found.rss - found.shared)
        if self.looks % USS_EVERY == 0:
            self.unique = max(self.unique, psutil.Process().memory_full_info().uss)
        self.looks += 1

    def line(self) -> str:
        """Return the three numbers in GiB."""
        return (
            f"resident {self.resident / GIB:.2f} GiB, own {self.own / GIB:.2f}, "
            f"unique {self.unique / GIB:.2f}"
        )


@contextmanager
def watched(name: str) -> Iterator[Memory]:
    """Watch the memory during a part, and print its time and peaks."""
    memory, ended = Memory(), threading.Event()

    def watch() -> None:
        while not ended.wait(EVERY):
            memory.look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        yield memory
    finally:
        took = time.perf_counter() - started
        ended.set()
        watcher.join()
        memory.look()
        print(f"{name}: {took:.1f} s; {memory.line()}", flush=True)


def write_split(folder: Path, images: int, *, dense: bool) -> None:
    """Write a training split of random captions, and of zeros or random features."""
    draw = np.random.default_rng(0)
    shape = (images, REGIONS, WIDTH)
    regions = np.lib.format.open_memmap(folder / "train_ims.npy", "w+", np.float32, shape)
    if dense:
        for start in range(0, images, 256):
            part = regions[start : start + 256]
            part[:] = draw.random(part.shape, np.float32)
    regions.flush()
    del regions
    words = np.array([f"word{i}" for i in range(WORDS)])
    with (folder / "train_caps.txt").open("w") as file:
        for _ in range(images):
            lens = draw.integers(8, 15, 5)
            file.writelines(" ".join(words[draw.integers(WORDS, size=n)]) + " .\n" for n in lens)


def load(folder: Path) -> tuple[Vocabulary, Pairs]:
    """Return the vocabulary and the pairs of the split, as a run makes them."""
    with watched("loading and checking"):
        split = load_split(folder, "train")
    with watched("vocabulary and captions"):
        vocabulary = Vocabulary.from_captions(split.captions)
        captions = [vocabulary.encode(caption) for caption in split.captions]
    print(f"  {len(captions)} captions, {len(vocabulary)} words")
    return vocabulary, Pairs(split.regions, captions, split.caption_image)


def make_batches(trainer: Trainer, count: int) -> None:
    """Make batches as fast as they can be made, and print how many a second."""
    with watched(f"{min(count, trainer.steps)} batches of {trainer.recipe.training.batch}"):
        started = time.perf_counter()
        with closing(trainer.batches.epoch(0, last=count)) as ready:
            made = sum(1 for _ in ready)
        print(f"  {made / (time.perf_counter() - started):.1f} batches a second")


def train(trainer: Trainer, count: int) -> None:
    """Train some steps, and print how much of the time was spent waiting for batches."""
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
        took = time.perf_counter() - started
        print(f"  {took / steps:.2f} s a step, {1 - stepping / took:.1%} of it waiting")


def measure(given: argparse.Namespace) -> None:
    """Make the file and print what each part takes."""
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        write_split(folder, given.images, dense=given.dense)
        on_disk = (folder / "train_ims.npy").stat()
        size, taken = on_disk.st_size / 1e9, on_disk.st_blocks * 512 / 1e9
        print(f"{size:.1f} GB of features, {taken:.2f} GB of the disk taken")
        vocabulary, pairs = load(folder)
        recipe = recipes.get(given.recipe).replace(f"training.feature_cache={given.held}")
        matcher = recipe.build(WIDTH, len(vocabulary), REGIONS).to(given.device)
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
        make_batches(trainer, given.batches)
        train(trainer, given.steps)
        source = "read from the disk" if trainer.batches.cache is None else "cached"
        print(f"features {source} for {trainer.device}")
