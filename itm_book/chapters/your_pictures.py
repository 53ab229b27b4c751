"""A folder of your own pictures: features, a compatible dataset, and a search by sentences.

Page: "Your pictures".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from itm_book.datasets.run_features import require_same_features, run_features
from itm_book.photographs.backbones import Backbone
from itm_book.photographs.own_split import load_own
from itm_book.photographs.picture_sources import of_dataset, of_folder
from itm_book.photographs.region_boxes import Boxes
from itm_book.photographs.region_features import Task, make_features
from itm_book.search.sentences import require_sentence
from itm_core.data.dataset import Dataset, Split, load_dataset
from itm_core.data.feature_notes import features_of_folder
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments.prepare import encode
from itm_core.experiments.runs import Run


def describe(
    pictures: Path | str,
    backbone: Backbone,
    folder: Path | str,
    *,
    boxes: Boxes | None = None,
    progress: bool = True,
) -> Split:
    """Return the pictures of a folder as a split, with features stored in ``folder``.

    Damaged files are skipped; added or changed pictures are processed again. Raises `InputError`
    when there are no pictures, or ``folder`` holds something else.
    """
    task = Task(sources=of_folder(Path(pictures)), backbone=backbone, boxes=boxes)
    return load_own(make_features(task, folder, skip_damaged=True, progress=progress).folder)


def dataset_for(
    dataset: Path | str, backbone: Backbone, folder: Path | str, *, progress: bool = True
) -> Dataset:
    """Return a dataset with features of the backbone.

    A dataset with other features is copied to ``folder``: its pictures, captions and boxes, with
    this backbone's features.
    """
    dataset = Path(dataset)
    if features_of_folder(dataset) == backbone.identity:
        return load_dataset(dataset)
    task = Task(sources=of_dataset(dataset), backbone=backbone)
    return load_dataset(make_features(task, folder, progress=progress).folder)


def with_sentences(run: Run, split: Split, sentences: Sequence[str]) -> Split:
    """Return the split with sentences as captions, for `scores` and `pair_records`.

    Raises `InputError` when the run was trained on another backbone's features, and for a
    sentence without a word that it knows.
    """
    require_same_features(run.config, split)
    for sentence in sentences:
        require_sentence(run.vocabulary, sentence)
    return replace(split, captions=[" ".join(sentence.split()) for sentence in sentences])


def scores(run: Run, split: Split) -> np.ndarray:
    """Return the scores ``[I, C]`` of every picture with every sentence."""
    tokens = encode(split, run.vocabulary)
    return score_matrix(run.matcher(), run_features(run, split), tokens)


def unknown_words(run: Run, sentences: Sequence[str]) -> pd.DataFrame:
    """Return the words of each sentence that are not in the vocabulary.

    With word pieces (BERT) there are none.
    """
    unknown = {text: ", ".join(run.vocabulary.unknown_words(text)) or "none" for text in sentences}
    return pd.DataFrame([{"sentence": text, "unknown": unknown[text]} for text in sentences])
