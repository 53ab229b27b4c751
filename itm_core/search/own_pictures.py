"""One's own pictures, met by a trained matcher: features, a check that they fit, a search.

Page: "Your pictures".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from itm_core.data.backbones import Backbone
from itm_core.data.feature_notes import features_of_folder, require_same
from itm_core.data.own_split import load_own
from itm_core.data.picture_sources import of_dataset, of_folder
from itm_core.data.precomp import Dataset, Split, load_dataset
from itm_core.data.region_boxes import Boxes
from itm_core.data.region_features import Task, make_features
from itm_core.errors import InputError
from itm_core.inputs import encode, features_of
from itm_core.runs import Run
from itm_core.scoring import score_matrix


def describe(
    pictures: Path | str,
    backbone: Backbone,
    folder: Path | str,
    *,
    boxes: Boxes | None = None,
    progress: bool = True,
) -> Split:
    """Return the pictures of a folder with their features, which are kept in ``folder``.

    Damaged files are left out; pictures that were added or changed are noticed.
    Raises `InputError` when there are no pictures, or ``folder`` holds something else.
    """
    task = Task(sources=of_folder(Path(pictures)), backbone=backbone, boxes=boxes)
    return load_own(make_features(task, folder, skip_damaged=True, progress=progress).folder)


def dataset_for(
    dataset: Path | str, backbone: Backbone, folder: Path | str, *, progress: bool = True
) -> Dataset:
    """Return a dataset whose features are the backbone's: as it is, or described anew.

    A dataset with other features is copied to ``folder``: its pictures, captions and boxes with
    this backbone's features.
    """
    dataset = Path(dataset)
    if features_of_folder(dataset) == backbone.identity:
        return load_dataset(dataset)
    task = Task(sources=of_dataset(dataset), backbone=backbone)
    return load_dataset(make_features(task, folder, progress=progress).folder)


def ask(run: Run, split: Split, sentences: Sequence[str]) -> Split:
    """Return the pictures with sentences in the place of captions, ready for `scores` and looks.

    Raises `InputError` when the run was trained on another backbone's features, and for a
    sentence without words.
    """
    require_same(run.config, split.folder)
    for sentence in sentences:
        if not sentence.strip():
            raise InputError("an empty sentence", expected="some words to look for")
    return replace(split, captions=[" ".join(sentence.split()) for sentence in sentences])


def scores(run: Run, asked: Split) -> np.ndarray:
    """Return the scores ``[I, C]`` of every picture with every sentence."""
    tokens = encode(asked, run.vocabulary)
    return score_matrix(run.matcher(), features_of(asked, run.recipe), tokens)


def unknown_words(run: Run, sentences: Sequence[str]) -> pd.DataFrame:
    """Return the words of each sentence that the matcher does not know, all alike to it.

    With BERT's pieces every word is known by its pieces.
    """
    known = run.vocabulary
    rows = []
    for sentence in sentences:
        pairs = zip(known.tokens(sentence), known.unknown(sentence), strict=True)
        new = [word for word, unknown in pairs if unknown]
        rows.append({"sentence": sentence, "unknown": ", ".join(dict.fromkeys(new)) or "none"})
    return pd.DataFrame(rows)
