"""Benchmark: search in two stages, for galleries of a thousand to a million images.

    itm bench search [--images 1000000] [--queries 100] [--pictures 16000]
        [--recipe scan-t2i-mean-smoke] [--kind float16] [--threads 2] [--folder data/search]
        [--record]

The gallery is the test split of ``data/scenes-small``, followed by synthetic images composed of
halves of ``--pictures`` newly generated scenes (`search.distractors`); smaller galleries are its
first images. The matcher is the run of ``--recipe`` with seed 0, which is trained if it does not
exist. ``--record`` writes ``data/results/search.csv`` and ``search_kinds.csv`` with machine,
versions and commit.

Slow results are kept in ``--folder`` (8 GB at a million images) and reused: the scenes (minutes),
the exact ranking of all images (a quarter of an hour of one processor at a million, from float32),
encoding, pooling.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from itm_book.records.commits import require_committed
from itm_book.records.record_files import changing, write_record
from itm_book.scenes.generate import make_image
from itm_book.search import search_curve
from itm_book.search.distractors import ConcatGallery, SyntheticDistractors
from itm_book.search.gallery_store import KINDS
from itm_book.search.search_curve import (
    FORM,
    curve,
    encoded,
    exact_tops,
    loss_of_kind,
    synthetic_share,
)
from itm_book.search.two_stage import (
    TOP,
    Ranking,
    TwoStage,
    build_two_stage,
    encode_captions,
    pooled,
)
from itm_book.search.vector_index import VectorIndex, write_index
from itm_core.data.dataset import Dataset, load_dataset
from itm_core.encoders.fragments import Fragments
from itm_core.environment import current_commit, describe
from itm_core.errors import InputError
from itm_core.experiments.prepare import encode
from itm_core.experiments.runs import train_or_load
from itm_core.files import make_folder, whole_file
from itm_core.models import Matcher
from itm_core.parallel import run_parallel

SCENES = (1, 3)  # seed and split of the distractors' scenes: no dataset of the book has them
SIZES = (1_000, 10_000, 100_000, 1_000_000)
COUNTS = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
DEPTH = 100  # images kept of the exact ranking: rounding may move the eleventh into the best ten
HALF = 3_000  # real and synthetic images that are compared
EXACT_CAPTIONS = 3  # captions ranked exactly one by one, to time the exact ranking


def measure(options: argparse.Namespace) -> None:
    """Measure, and with ``--record`` write the record.

    Raises `InputError` for a gallery below the smallest size, for too few pictures, and, before
    anything is measured that could not be recorded, when there are uncommitted changes.
    """
    for name, count, least in (
        ("images", options.images, SIZES[0]),
        ("pictures", options.pictures, HALF),  # as many as the synthetic images beside them
    ):
        if count < least:
            raise InputError(
                f"too few {name}", expected=f"{least} or more", found=f"--{name} {count}"
            )
    if options.record:
        require_committed(current_commit())
    torch.set_num_threads(options.threads)
    make_folder(options.folder)
    data = load_dataset("data/scenes-small")
    run = train_or_load(data, options.recipe, seed=0, device="cpu")
    matcher, training = run.matcher(), encode(data.train, run.vocabulary)
    features, boxes = scenes(options.folder, options.pictures)
    distractors = SyntheticDistractors(features, boxes, options.images - len(data.test.regions))
    captions, words = queries(data, run.vocabulary, matcher, options.queries)
    gallery = ConcatGallery(data.test.features, distractors)
    sizes = [size for size in SIZES if size <= options.images]
    synthetic = synthetic_share(matcher, features[:HALF], replace(distractors, count=HALF), words)
    print(
        f"share of synthetic images among the best ten, half and half: {synthetic:.3f}", flush=True
    )
    path = options.folder / f"exact-{options.images}-{options.queries}.npz"
    exact = exact_rankings(matcher, gallery, words, sizes, path)
    setup = setup_columns(options, run.place, synthetic)
    losses = kind_losses(matcher, gallery, words, exact).assign(**setup)
    if options.record:
        record(losses, search_curve.KINDS)
    folder = options.folder / options.kind
    search = build_two_stage(matcher, gallery, training, folder, kind=options.kind, progress=True)
    parts = []
    for size in sizes:
        smaller = first_images(search, size, options.folder)
        counts = [count for count in COUNTS if count < size]
        part = curve(smaller, captions, exact[size].images[:, :TOP], counts)
        part = pd.concat([part, exact_row(smaller, size, captions, exact[size])])
        parts.append(part.assign(gallery=size, kind=options.kind))
        print(parts[-1].to_string(index=False), flush=True)
    if options.record:
        record(pd.concat(parts).assign(**setup), search_curve.CURVE)


def scenes(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features and boxes of newly generated scenes, kept in ``folder``."""
    paths = [folder / f"pictures-{count}-{name}.npy" for name in ("ims", "boxes")]
    if not paths[1].exists():
        generated = list(run_parallel(scene, range(count), title="scenes", unit="scene"))
        for path, values in zip(paths, zip(*generated, strict=True), strict=True):
            with whole_file(path) as partial, partial.open("wb") as file:
                np.save(file, np.stack(values))
    features, boxes = (np.load(path, mmap_mode="r") for path in paths)
    return features, np.asarray(boxes, np.float32)


def scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features and boxes of one scene."""
    image = make_image(*SCENES, index)
    return image.features, image.boxes.astype(np.float32)


def queries(
    data: Dataset, vocabulary: Any, matcher: Matcher, count: int
) -> tuple[list[list[int]], Fragments]:
    """Return token ids of evenly spaced captions of the test split, and their encoded words."""
    tokens = encode(data.test, vocabulary)
    captions = [tokens[i] for i in np.linspace(0, len(tokens) - 1, count).astype(int)]
    with torch.no_grad():
        return captions, encode_captions(matcher, captions)


def exact_rankings(
    matcher: Matcher, gallery: ConcatGallery, words: Fragments, sizes: list[int], path: Path
) -> dict[int, Ranking]:
    """Return the best images of the exact ranking for each gallery size, kept in ``path``."""
    if not path.exists():
        blocks = encoded(matcher, gallery, sizes)
        rankings = exact_tops(matcher, blocks, words, sizes, DEPTH)
        with whole_file(path) as partial, partial.open("wb") as file:
            arrays = {f"images-{n}": ranking.images for n, ranking in rankings.items()}
            arrays |= {f"scores-{n}": ranking.scores for n, ranking in rankings.items()}
            np.savez(file, allow_pickle=False, **arrays)
    with np.load(path) as file:
        return {n: Ranking(file[f"images-{n}"], file[f"scores-{n}"]) for n in sizes}


def kind_losses(
    matcher: Matcher, gallery: ConcatGallery, words: Fragments, exact: dict[int, Ranking]
) -> pd.DataFrame:
    """Return what each number format of regions loses, for each gallery size."""
    rows: list[dict[str, Any]] = []
    for size, ranking in exact.items():
        for kind, width in KINDS.items():
            losses = loss_of_kind(matcher, gallery, words, ranking, kind)
            rows.append({"gallery": size, "kind": kind, "bytes_per_value": width, **losses})
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def first_images(search: TwoStage, size: int, folder: Path) -> TwoStage:
    """Return the search restricted to the first ``size`` images of its gallery."""
    if size == len(search.store):
        return search
    path = folder / f"index-{size}.faiss"
    write_index(pooled(search.first, search.store, size), path)
    return replace(search, index=VectorIndex(path))


def exact_row(
    search: TwoStage, size: int, captions: list[list[int]], exact: Ranking
) -> pd.DataFrame:
    """Return the row of the exact ranking of single captions, from the stored regions."""
    rows = []
    for k in range(1 if size == SIZES[-1] else EXACT_CAPTIONS):
        with torch.no_grad():
            words = encode_captions(search.matcher, [captions[k]])
        started = search_curve.clocks()
        blocks = search.store.blocks(size)
        ranking = exact_tops(search.matcher, blocks, words, [size])[size]
        wall, processor = search_curve.elapsed(started)
        recall = float(search_curve.recalls(ranking.images, exact.images[k : k + 1, :TOP])[0])
        rows.append((recall, wall, processor))
    recall, wall, processor = np.median(rows, 0).tolist()
    row = {"candidates": size, "recall": recall, "worst": recall, "milliseconds": wall}
    return pd.DataFrame([row | {"processor_milliseconds": processor}])


def setup_columns(options: argparse.Namespace, run: str, synthetic: float) -> dict[str, Any]:
    """Return the columns that describe machine, versions and settings of the measurement."""
    environment = describe(torch.device("cpu"))
    versions: Any = environment["packages"]
    return {
        "run": run,
        "queries": options.queries,
        "pictures": options.pictures,
        "synthetic_share": round(synthetic, 3),
        "machine": environment["device_name"],
        "cores": environment["cores"],
        "threads": options.threads,
        "torch": versions["torch"],
        "faiss": versions["faiss-cpu"],
        "commit": environment["commit"],
        "made": str(environment["started"])[:10],
    }


def record(table: pd.DataFrame, path: Path) -> None:
    """Write a table of the record atomically.

    Raises `InputError`, and writes nothing, unless every row was made by committed code.
    """
    for commit in table["commit"]:
        require_committed(commit)
    with changing(path):
        write_record(table, path, FORM, digits=5)
