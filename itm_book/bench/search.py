"""Benchmark: search in two stages, for galleries of a thousand to a million images.

    itm bench search [--images 1000000] [--queries 100] [--pictures 16000]
        [--recipe scan-t2i-mean-smoke] [--kind float16] [--threads 2] [--folder data/search]

The gallery is the test split of ``data/scenes-small``, then pictures glued from halves of
``--pictures`` freshly drawn scenes (`search.distractors`), read in this order; smaller galleries
are its beginnings. The matcher is the run of ``--recipe`` with seed 0, trained where there is none.
Writes ``data/results/search.csv`` and ``search_kinds.csv`` with machine, versions and commit.

What takes long is kept in ``--folder`` (8 GB at a million images) and used again: drawing the
scenes (minutes), the exact ranking of all images (a quarter of an hour of one processor at a
million, from float32), encoding, pooling.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from itm_book.records.commits import require_committed
from itm_book.scenes.generate import make_image
from itm_book.search import search_curve
from itm_book.search.distractors import ConcatGallery, SyntheticDistractors
from itm_book.search.gallery_store import KINDS
from itm_book.search.search_curve import curve, encoded, exact_tops, loss_of_kind, share_of_glued
from itm_book.search.two_stage import TOP, Found, TwoStage, build_two_stage, encode_captions, pooled
from itm_book.search.vector_index import VectorIndex, write_index
from itm_core.data.dataset import Dataset, load_dataset
from itm_core.encoders.fragments import Fragments
from itm_core.environment import current_commit, describe
from itm_core.experiments.prepare import encode
from itm_core.experiments.runs import train_or_load
from itm_core.files import whole_file
from itm_core.models import Matcher

DRAWN = (1, 3)  # seed and split of the scenes that are glued: no dataset of the book has them
SIZES = (1_000, 10_000, 100_000, 1_000_000)
COUNTS = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
DEEP = 100  # images of the exact ranking that are kept: fewer bits may bring up the eleventh
HALF = 3_000  # real and glued pictures that are compared
ONE_BY_ONE = 3  # captions ranked exactly, one by one, to see how long that takes


def measure(asked: argparse.Namespace) -> None:
    """Measure and write the record; raises `InputError` where code is in no commit."""
    require_committed(current_commit())
    torch.set_num_threads(asked.threads)
    asked.folder.mkdir(parents=True, exist_ok=True)
    data = load_dataset("data/scenes-small")
    run = train_or_load(data, asked.recipe, seed=0, device="cpu")
    matcher, training = run.matcher(), encode(data.train, run.vocabulary)
    features, boxes = pictures(asked.folder, asked.pictures)
    glued = SyntheticDistractors(features, boxes, asked.images - len(data.test.regions))
    captions, words = asking(data, run.vocabulary, matcher, asked.queries)
    gallery = ConcatGallery(data.test.regions, glued)
    sizes = [size for size in SIZES if size <= asked.images]
    hard = share_of_glued(matcher, features[:HALF], replace(glued, count=HALF), words)
    print(f"share of glued pictures among the best ten, half and half: {hard:.3f}", flush=True)
    exact = truth(
        matcher, gallery, words, sizes, asked.folder / f"exact-{asked.images}-{asked.queries}.npz"
    )
    about = about_here(asked, run.place, hard)
    record(kinds(matcher, gallery, words, exact).assign(**about), search_curve.KINDS)
    folder = asked.folder / asked.kind
    search = build_two_stage(matcher, gallery, training, folder, kind=asked.kind, progress=True)
    parts = []
    for size in sizes:
        smaller = beginning(search, size, asked.folder)
        counts = [count for count in COUNTS if count < size]
        part = curve(smaller, captions, exact[size].images[:, :TOP], counts)
        part = pd.concat([part, alone(smaller, size, captions, exact[size])])
        parts.append(part.assign(gallery=size, kind=asked.kind))
        print(parts[-1].to_string(index=False), flush=True)
    record(pd.concat(parts).assign(**about), search_curve.CURVE)


def pictures(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features and boxes of freshly drawn scenes, drawn once."""
    places = [folder / f"pictures-{count}-{name}.npy" for name in ("ims", "boxes")]
    if not places[1].exists():
        with ProcessPoolExecutor() as pool:
            made = list(pool.map(drawn, range(count), chunksize=100))
        for place, values in zip(places, zip(*made, strict=True), strict=True):
            with whole_file(place) as partial, partial.open("wb") as file:
                np.save(file, np.stack(values))
    features, boxes = (np.load(place, mmap_mode="r") for place in places)
    return features, np.asarray(boxes, np.float32)


def drawn(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features and boxes of one scene."""
    made = make_image(*DRAWN, index)
    return made.features, made.boxes.astype(np.float32)


def asking(
    data: Dataset, vocabulary: Any, matcher: Matcher, count: int
) -> tuple[list[list[int]], Fragments]:
    """Return token ids of some captions of the test split, evenly spread, and their words."""
    every = encode(data.test, vocabulary)
    captions = [every[i] for i in np.linspace(0, len(every) - 1, count).astype(int)]
    with torch.no_grad():
        return captions, encode_captions(matcher, captions)


def truth(
    matcher: Matcher, gallery: ConcatGallery, words: Fragments, sizes: list[int], path: Path
) -> dict[int, Found]:
    """Return the exact ranking's best images for each size, computed once."""
    if not path.exists():
        found = exact_tops(matcher, encoded(matcher, gallery, sizes), words, sizes, DEEP)
        with whole_file(path) as partial, partial.open("wb") as file:
            arrays = {f"images-{n}": one.images for n, one in found.items()}
            arrays |= {f"scores-{n}": one.scores for n, one in found.items()}
            np.savez(file, allow_pickle=False, **arrays)
    with np.load(path) as file:
        return {n: Found(file[f"images-{n}"], file[f"scores-{n}"]) for n in sizes}


def kinds(
    matcher: Matcher, gallery: ConcatGallery, words: Fragments, exact: dict[int, Found]
) -> pd.DataFrame:
    """Return what each way of keeping regions loses, for each size of the gallery."""
    rows: list[dict[str, Any]] = []
    for size, found in exact.items():
        for kind, width in KINDS.items():
            lost = loss_of_kind(matcher, gallery, words, found, kind)
            rows.append({"gallery": size, "kind": kind, "bytes_per_value": width, **lost})
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def beginning(search: TwoStage, size: int, folder: Path) -> TwoStage:
    """Return the search in the first images of a gallery."""
    if size == len(search.store):
        return search
    path = folder / f"index-{size}.faiss"
    write_index(pooled(search.first, search.store, size), path)
    return replace(search, index=VectorIndex(path))


def alone(search: TwoStage, size: int, captions: list[list[int]], exact: Found) -> pd.DataFrame:
    """Return the row of the exact ranking of single captions, from what the store keeps."""
    rows = []
    for k in range(1 if size == SIZES[-1] else ONE_BY_ONE):
        with torch.no_grad():
            words = encode_captions(search.matcher, [captions[k]])
        started = search_curve.clocks()
        blocks = search.store.blocks(size)
        found = exact_tops(search.matcher, blocks, words, [size])[size]
        wall, spent = search_curve.since(started)
        share = float(search_curve.shares(found.images, exact.images[k : k + 1, :TOP])[0])
        rows.append((share, wall, spent))
    share, wall, spent = np.median(rows, 0).tolist()
    row = {"candidates": size, "recall": share, "worst": share, "milliseconds": wall}
    return pd.DataFrame([row | {"processor_milliseconds": spent}])


def about_here(asked: argparse.Namespace, run: str, hard: float) -> dict[str, Any]:
    """Return the columns that say where and how this was measured."""
    here = describe(torch.device("cpu"))
    versions: Any = here["packages"]
    return {
        "run": run,
        "queries": asked.queries,
        "pictures": asked.pictures,
        "share_of_glued": round(hard, 3),
        "machine": here["device_name"],
        "cores": here["cores"],
        "threads": asked.threads,
        "torch": versions["torch"],
        "faiss": versions["faiss-cpu"],
        "commit": here["commit"],
        "made": str(here["started"])[:10],
    }


def record(table: pd.DataFrame, path: Path) -> None:
    """Write a table of the record, whole or not at all.

    Raises `InputError`, and writes nothing, unless code in a commit made every row.
    """
    for commit in table["commit"]:
        require_committed(commit)
    with whole_file(path) as partial:
        table.to_csv(partial, index=False, float_format="%.5g")
