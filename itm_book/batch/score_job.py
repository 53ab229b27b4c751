"""Scoring a gallery with a run or an ensemble: in this process, or as shards that are merged.

A job has a folder: ``job.json`` says what is scored, each shard is a file, and the results are
``metrics.json`` and ``scores.npy`` (the score matrix) or ``top.npz`` (the best K in both
directions). Finished parts are not computed again: the same command resumes a job.

Page: "Batches", "A large gallery".
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from itm_book.batch import engine, top_lists
from itm_book.batch.profiles import resources
from itm_book.checkpoints.imported_runs import vocabulary_hash, weights_hash
from itm_book.datasets.run_features import require_same_features, run_features
from itm_core.data.dataset import Split, load_split
from itm_core.environment import pick_device
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.evaluation.scoring import image_shards, score_matrix
from itm_core.experiments.prepare import encode
from itm_core.experiments.run import Run
from itm_core.experiments.run_folder import ERROR, RunState
from itm_core.files import locked, whole_file
from itm_core.json_files import read_json, write_json

JOB, DONE = "job.json", "metrics.json"
SCORES, LISTS = "scores.npy", "top.npz"
SCORES_ROOT = Path("data/scores")
LONGEST_NAME = 200  # bytes; file systems allow 255


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Some images of a gallery, and the file for their scores."""

    place: Path
    rows: slice

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.place.name

    @property
    def trace(self) -> Path:
        """The file that says why it failed."""
        return self.place.with_suffix(f".{ERROR}")

    @property
    def error(self) -> str:
        """The last line of that file; empty when it did not fail."""
        try:
            return self.trace.read_text(encoding="utf-8").rstrip().rpartition("\n")[2]
        except FileNotFoundError:
            return ""

    @property
    def state(self) -> str:
        """`RunState.FINISHED`, `RunState.FAILED` or `RunState.EMPTY`, read from its files.

        A shard whose scores have been merged is finished, too.
        """
        if self.place.exists() or self.place.with_name(DONE).exists():
            return RunState.FINISHED
        return RunState.FAILED if self.trace.exists() else RunState.EMPTY

    def forget(self) -> None:
        """Remove an earlier error, and partial files of a killed process."""
        self.trace.unlink(missing_ok=True)
        for partial in self.place.parent.glob(f".{self.name}.*.partial"):
            partial.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class ScoreJob:
    """Runs, the split whose images and captions they score, and how; see `prepare`.

    Attributes:
        runs: one run, or the members of an ensemble, whose scores are averaged.
        vocabulary: the vocabulary file that was given for imported runs, or None.
        jobs: the shards; none when everything is scored in this process.
        top: number of best items kept for each query; 0 for the full matrix.
    """

    runs: tuple[Run, ...]
    vocabulary: Path | None
    split: Split
    out: Path
    jobs: tuple[Shard, ...]
    top: int
    device: str
    workers: int
    gpus: int
    profile: Path
    remote: bool
    unit = "shard"

    @property
    def home(self) -> Path:
        """The folder of Snakemake's input, state and log."""
        return self.out / "batch"

    def content(self, pending: Sequence[Shard]) -> dict[str, Any]:
        """Return what `shard` reads about the shards that are left."""
        return {
            "module": "itm_book.batch.shard",
            "runs": [str(run.folder.resolve()) for run in self.runs],
            "vocabulary": None if self.vocabulary is None else str(self.vocabulary.resolve()),
            "dataset": str(self.split.folder.resolve()),
            "split": self.split.name,
            "out": str(self.out),
            "top": self.top,
            "device": self.device,
            "cells": {job.name: [job.rows.start, job.rows.stop] for job in pending},
        }

    def job(self) -> dict[str, Any]:
        """Return what determines the scores, ready for JSON: weights, data and shards."""
        data = hashlib.sha256()
        self.split.add_to(data)
        words = [vocabulary_hash(run.vocabulary) for run in self.runs if run.imported]
        return {
            "run": " + ".join(run.place for run in self.runs),
            "weights": " + ".join(weights_hash(run) for run in self.runs),
            **({"vocabulary": " + ".join(words)} if words else {}),
            "split": self.split.name,
            "data": data.hexdigest(),
            "shards": len(self.jobs),
            "top": self.top,
        }


def prepare(
    runs: Sequence[Run],
    dataset: Path | str,
    out: Path | None = None,
    *,
    split: str = "test",
    shards: int = 0,
    top: int = 0,
    folds: int = 0,
    vocabulary: Path | None = None,
    workers: int | None = None,
    device: str = "auto",
    profile: Path | str = "local",
) -> ScoreJob:
    """Return a scoring job whose every part has been checked; nothing is scored.

    Args:
        runs: one run, or the members of an ensemble.
        out: the folder of the results; by default one below `SCORES_ROOT` named after the runs.
        shards: number of shards of the images; 0 to score everything in this process.
        top: keep the best K in each direction, not the full matrix; requires shards.
        folds: number of parts into which `folded` divides the images.
        vocabulary: the vocabulary file that imported runs were loaded with, if any.
        workers, device, profile: as for `profiles.resources`.

    Raises `InputError` for data that does not fit a run, numbers that cannot be combined, and a
    folder that holds another job or other files.
    """
    data = load_split(dataset, split)
    data.require_readable()
    for run in runs:
        require_same_features(run.config, data)
    _check_numbers(len(runs), len(data.regions), shards, top, folds)
    out = (out or default_folder(runs, data)).resolve()
    kind = "npz" if top else "npy"
    rows = image_shards(len(data.regions), shards) if shards else []
    jobs = tuple(
        Shard(place=out / f"shard-{k:04}-of-{shards:04}.{kind}", rows=part)
        for k, part in enumerate(rows, 1)
    )
    how = resources(device, workers, profile)
    score_job = ScoreJob(
        runs=tuple(runs), vocabulary=vocabulary, split=data, out=out, jobs=jobs, top=top, **how
    )
    _claim(score_job)
    return score_job


def default_folder(runs: Sequence[Run], split: Split) -> Path:
    """Return the folder of scores unless one is named: by dataset, split and names of the runs.

    A trained run is named by its folder below the store, an imported one by its own folder.
    """
    names = [run.folder.resolve().name if run.imported else run.place for run in runs]
    label = "+".join(name.replace("/", "-") for name in names)
    if len(label.encode()) > LONGEST_NAME:
        short = hashlib.sha256(label.encode()).hexdigest()[:12]
        label = f"{len(names)}-runs-{short}"
    return SCORES_ROOT / f"{split.folder.resolve().name}-{split.name}" / label


def _check_numbers(members: int, images: int, shards: int, top: int, folds: int) -> None:
    if not 0 <= shards <= images or top < 0 or (top and not shards):
        raise InputError(
            "wrong number of shards or of best items",
            expected=f"1 to {images} shards; --top 1 or more, with shards, or no --top",
            found=f"--shards {shards} --top {top}",
        )
    if top and (members > 1 or folds):
        raise InputError(
            "--top cannot be combined with an ensemble or folds",
            expected="the full score matrix: an ensemble averages it, folds divide it",
            found=f"--top {top} with {members} runs and {folds} folds",
            remedy="leave out --top",
        )
    if folds and (folds < 2 or images % folds):
        raise InputError(
            "the images cannot be divided into these folds",
            expected=f"2 or more folds of the same number of images ({images} in all)",
            found=f"--folds {folds}",
        )


def _claim(gallery: ScoreJob) -> None:
    """Write ``job.json``, or raise `InputError` when the folder holds another job."""
    place, job = gallery.out / JOB, gallery.job()
    if not place.exists():
        _require_empty(gallery.out)
        write_json(place, job)
    elif (existing := read_json(place)) != job:
        other = next(name for name in job if existing.get(name) != job[name])
        raise InputError(
            "this folder holds another scoring job",
            file=gallery.out,
            expected=f"{other} {job[other]}",
            found=existing.get(other),
            remedy="name another folder with --out, or remove this one",
        )


def _require_empty(folder: Path) -> None:
    """Raise `InputError` for a folder with files of something else, such as a run."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in names if not name.startswith(f".{JOB}.")]  # of a killed process
    if others:
        raise InputError(
            "not a folder of scores",
            file=folder,
            expected=f"an empty folder, or one with {JOB}",
            found=", ".join(others[:3]) + (", ..." if others[3:] else ""),
            remedy="name another folder with --out",
        )


def score(gallery: ScoreJob, *, progress: bool = True) -> engine.Report | None:
    """Score what is missing and merge it; return the report of a batch when jobs failed."""
    done = gallery.out / DONE
    if not gallery.jobs:
        if not done.exists():
            _score_here(gallery, progress)
        return None
    if not done.exists():
        report = engine.run(gallery, progress=progress)
        if report.failed:
            return report
    if not done.exists() or any(gallery.out.glob("*shard-*")):  # a clean-up was interrupted
        _merge_and_clean(gallery)
    return None


def _merge_and_clean(gallery: ScoreJob) -> None:
    """Merge the shards unless that is done, and remove them; no batch of theirs runs meanwhile."""
    with locked(gallery.home / ".lock"):
        if not (gallery.out / DONE).exists():
            merge(gallery)
        for job in gallery.jobs:  # their content is in the merged file
            job.place.unlink(missing_ok=True)
            job.forget()


def _score_here(gallery: ScoreJob, progress: bool) -> None:
    """Score everything in this process, on all GPUs that it may use."""
    scores = retrieval.ensemble(_matrix(gallery, run, progress) for run in gallery.runs)
    with whole_file(gallery.out / SCORES) as partial, partial.open("wb") as file:
        np.save(file, scores.astype(np.float32))
    _measure(gallery)


def _matrix(gallery: ScoreJob, run: Run, progress: bool) -> np.ndarray:
    return score_matrix(
        run.matcher(gallery.device),
        run_features(run, gallery.split),
        encode(gallery.split, run.vocabulary),
        progress=progress,
        devices=[torch.device("cuda", k) for k in range(gallery.gpus)]
        or [pick_device(gallery.device)],
    )


def merge(gallery: ScoreJob) -> None:
    """Merge the shards and write the metrics; at most one shard is in memory.

    Raises `InputError` for a shard that is damaged.
    """
    if gallery.top:
        _merge_lists(gallery)
    else:
        _merge_blocks(gallery)
    _measure(gallery)


def _merge_blocks(gallery: ScoreJob) -> None:
    images, captions = len(gallery.split.regions), len(gallery.split.captions)
    header = {"descr": "<f4", "fortran_order": False, "shape": (images, captions)}
    with whole_file(gallery.out / SCORES) as partial, partial.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for job in gallery.jobs:
            block = _read(job)
            rows = job.rows.stop - job.rows.start
            if block.shape != (rows, captions) or block.dtype != np.dtype("<f4"):
                raise _damaged(job, f"{block.dtype} {list(block.shape)}")
            block.tofile(file)


def _merge_lists(gallery: ScoreJob) -> None:
    i2t, t2i = [], np.empty((len(gallery.split.captions), 0), np.int64)
    for job in gallery.jobs:
        lists = _read(job)
        i2t.append(lists["i2t"])
        t2i = top_lists.best(np.concatenate([t2i, lists["t2i"]], 1), gallery.top)
    sides = {"i2t": np.concatenate(i2t), "t2i": t2i}
    merged = {f"{side}_places": top_lists.places_of(lists) for side, lists in sides.items()}
    merged |= {f"{side}_scores": top_lists.scores_of(lists) for side, lists in sides.items()}
    with whole_file(gallery.out / LISTS) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **merged)


def _read(job: Shard) -> Any:
    try:
        if job.place.suffix == ".npy":
            return np.load(job.place, mmap_mode="r")
        with np.load(job.place) as lists:
            return dict(lists)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise _damaged(job, str(error)) from None


def _damaged(job: Shard, problem: str) -> InputError:
    remedy = "delete it and run the same command again"
    return InputError("this shard is damaged", file=job.place, found=problem, remedy=remedy)


def _measure(gallery: ScoreJob) -> None:
    if not gallery.top:
        scores = np.load(gallery.out / SCORES, mmap_mode="r")
        write_json(gallery.out / DONE, retrieval.report(scores, gallery.split.caption_image))
        return
    with np.load(gallery.out / LISTS) as lists:
        i2t, t2i = lists["i2t_places"], lists["t2i_places"]
    write_json(gallery.out / DONE, top_lists.recalls(i2t, t2i, gallery.split.caption_image))


def folded(gallery: ScoreJob, folds: int) -> dict[str, Any]:
    """Return the mean metrics over folds of the images (MSCOCO 1K), after writing them."""
    scores = np.load(gallery.out / SCORES, mmap_mode="r")
    means = retrieval.five_folds(scores, gallery.split.caption_image, folds=folds).flat()
    metrics = {**means, "images": len(scores), "captions": scores.shape[1], "folds": folds}
    write_json(gallery.out / f"metrics-{folds}-folds.json", metrics)
    return metrics
