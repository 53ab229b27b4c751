"""Scores of a finished scoring job, normalised against hubs; banks of training queries.

Page: "Similarity distributions", "Batches".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itm_book.batch.score_job import SCORES, ScoreJob
from itm_book.datasets.run_features import run_features
from itm_core.data.dataset import Split, load_split
from itm_core.errors import InputError
from itm_core.evaluation import hubness, retrieval
from itm_core.evaluation.recalls import NORMALISATIONS
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments.prepare import encode
from itm_core.experiments.run import Run
from itm_core.files import whole_file
from itm_core.json_files import write_json
from itm_core.settings import at_least, one_of

BANK = 1000  # training images, each with its first caption
TRAINING = "train"
TRANSDUCTIVE = "the test queries together (transductive: not comparable with published numbers)"


@dataclass(frozen=True, eq=False)
class Bank:
    """Scores of other queries with the items of a test split, for `hubness.querybank`.

    Attributes:
        captions: ``[I, B]`` scores of the test images with captions of the bank.
        images: ``[B, C]`` scores of images of the bank with the test captions.
    """

    captions: np.ndarray
    images: np.ndarray


def training_split(split: Split) -> Split | None:
    """Return the training split beside a split; None where there is none, or it is this one."""
    if split.name == TRAINING or not (split.folder / f"{TRAINING}_ims.npy").exists():
        return None
    return load_split(split.folder, TRAINING)


def score_bank(
    runs: Sequence[Run], split: Split, training: Split, *, size: int = BANK, device: str = "cpu"
) -> Bank:
    """Return the scores of a bank of training queries, means over the runs of an ensemble.

    At most ``size`` images at equal distances in the training split, each with its first caption.
    Raises `InputError` for features that a run was not trained on, or a size below one.
    """
    at_least("the size of the bank", size, 1)
    every = slice(None, None, -(-len(training.regions) // size))
    first = np.searchsorted(training.caption_image, np.arange(len(training.regions)))[every]
    captions, images = [], []
    for run in runs:
        matcher, bank_ids = run.matcher(device), encode(training, run.vocabulary)
        test_ids, bank_regions = encode(split, run.vocabulary), run_features(run, training)[every]
        own = [bank_ids[caption] for caption in first]
        captions.append(score_matrix(matcher, run_features(run, split), own))
        images.append(score_matrix(matcher, bank_regions, test_ids))
    return Bank(retrieval.ensemble(captions), retrieval.ensemble(images))


def normalised(scores: np.ndarray, name: str, bank: Bank | None = None) -> np.ndarray:
    """Return scores ``[I, C]`` normalised by one of `recalls.NORMALISATIONS`, at its defaults.

    ``bank`` is that of the querybank; without one it uses the test queries. CSLS takes fewer
    neighbours where there are fewer. Raises `InputError` for another name.
    """
    one_of("the normalisation", name, NORMALISATIONS)
    if name == "querybank":
        banks = () if bank is None else (bank.captions, bank.images)
        return hubness.querybank(scores, *banks)
    if name == "csls":
        return hubness.csls(scores, neighbours=min(hubness.NEIGHBOURS, *scores.shape))
    return hubness.sinkhorn(scores)


def hub_numbers(scores: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the hubness of scores ``[I, C]`` by direction, ``i2t`` and ``t2i``.

    ``skewness`` is that of the k-occurrence for k = `hubness.NEIGHBOURS`, or fewer where there are
    fewer items; ``never`` the percentage of the items that are first for no query.
    """
    many = hubness.hubness(scores, min(hubness.NEIGHBOURS, *scores.shape))
    first = hubness.hubness(scores, 1)
    return {side: {"skewness": many[side].skewness, "never": first[side].never} for side in many}


def refuse_parts(name: str | None, top: int, folds: int) -> None:
    """Raise `InputError` for a normalisation with lists or folds, which hold parts of a matrix."""
    if name and (top or folds):
        raise InputError(
            "--normalise needs the full score matrix",
            expected="neither --top nor --folds",
            found=f"--normalise {name} --top {top} --folds {folds}",
            remedy="leave them out",
        )


def normalise(job: ScoreJob, name: str) -> tuple[dict[str, Any], Path]:
    """Normalise the scores of a finished job; return the metrics, and the file of the scores.

    Writes ``scores-NAME.npy`` and ``metrics-NAME.json`` beside the plain ones, which stay. The
    metrics say which queries were used, and the hubness before and after.
    """
    scores = np.load(job.out / SCORES)
    training = training_split(job.split) if name == "querybank" else None
    bank = None
    if training is not None:
        bank = score_bank(job.runs, job.split, training, device=job.device)
    after = normalised(scores, name, bank)
    metrics = {
        **retrieval.report(after, job.split.caption_image),
        "normalisation": name,
        "queries": TRANSDUCTIVE if bank is None else f"{len(bank.images)} training queries",
        "hubness": {"before": hub_numbers(scores), "after": hub_numbers(after)},
    }
    place = job.out / f"scores-{name}.npy"
    with whole_file(place) as partial, partial.open("wb") as file:
        np.save(file, after.astype(np.float32))
    write_json(job.out / f"metrics-{name}.json", metrics)
    return metrics, place


def text(metrics: dict[str, Any]) -> str:
    """Return what `normalise` found as lines to print: the queries that were used, and hubness."""
    before, after = metrics["hubness"]["before"], metrics["hubness"]["after"]
    lines = [f"normalised by {metrics['normalisation']}, with {metrics['queries']}:"]
    for side, items in (("t2i", "images"), ("i2t", "captions")):
        skewness = f"{before[side]['skewness']:.2f} -> {after[side]['skewness']:.2f}"
        never = f"{before[side]['never']:.1f} -> {after[side]['never']:.1f} %"
        lines.append(f"hubness of {items}: skewness {skewness}, never first {never}")
    return "\n".join(lines)
