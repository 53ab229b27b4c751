"""A trained matcher meets pictures without captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itm_book.chapters import your_pictures
from itm_book.figures import attention_maps, retrieval_examples
from itm_book.pairs.pair_records import pair_record
from itm_book.pairs.word_maps import explain
from itm_book.photographs.backbones import Colour
from itm_book.photographs.own_split import load_own
from itm_book.photographs.picture_sources import of_folder
from itm_book.photographs.region_features import Task, make_features
from itm_book.photographs.run_pictures import pictures_for
from itm_book.regions.region_boxes import Grid
from itm_core.data.dataset import load_dataset
from itm_core.errors import InputError
from itm_core.experiments.runs import Run
from tests.micro import write_dataset
from tests.painted import COLOURS, paint, painted_dataset, painted_folder, painted_run


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run that knows the colours of pictures, and a folder for more."""
    folder = tmp_path_factory.mktemp("painted")
    return painted_run(painted_dataset(folder), folder / "runs"), folder


def test_a_sentence_finds_the_picture_of_its_colour(painted: tuple[Run, Path]) -> None:
    run, folder = painted
    pictures = painted_folder(folder / "mine")
    parts = {"backbone": Colour(), "boxes": Grid(), "progress": False}
    mine = pictures_for(run, pictures, folder / "own", **parts)  # type: ignore[arg-type]
    sentences = [f"A {colour} ball" for colour in COLOURS]
    asked = your_pictures.with_sentences(run, mine, sentences)
    scores = your_pictures.scores(run, asked)
    assert scores.shape == (6, 6)
    found = [mine.ids[k].removesuffix(".png") for k in scores.argmax(0)]
    assert sum(a == b for a, b in zip(found, COLOURS, strict=True)) >= 5
    assert pair_record(run, asked, 2, 1).score == pytest.approx(scores[2, 1], abs=1e-5)
    assert explain(run, asked, 2, 1).words == ["a", "green", "ball"]
    assert len(retrieval_examples.searches(asked, scores, 3).axes) == 18
    assert attention_maps.maps(pair_record(run, asked, 2, 1)).axes


def test_words_that_it_does_not_know_are_words(painted: tuple[Run, Path]) -> None:
    words = your_pictures.unknown_words(painted[0], ["a red zebra sees a zebra", "a red ball"])
    assert words["unknown"].tolist() == ["zebra, sees", "none"]


def test_what_cannot_be_asked(painted: tuple[Run, Path], tmp_path: Path) -> None:
    run, _ = painted
    paint(tmp_path / "mine" / "a.png", "red")
    parts = {"backbone": Colour(), "boxes": Grid(), "progress": False}
    mine = pictures_for(run, tmp_path / "mine", tmp_path / "a", **parts)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no sentence to search with"):
        your_pictures.with_sentences(run, mine, ["a ball", " "])
    other = Colour()
    other.identity = other.identity | {"version": 0}
    task = Task(sources=of_folder(tmp_path / "mine"), backbone=other)
    strange = load_own(make_features(task, tmp_path / "b", progress=False).folder)
    with pytest.raises(InputError, match="trained on other features"):
        your_pictures.with_sentences(run, strange, ["a ball"])


def test_best_images_without_pictures_are_a_list(tmp_path: Path) -> None:
    split = load_dataset(write_dataset(tmp_path)).test
    words = retrieval_examples.searches(split, np.eye(12, 60, dtype=np.float32), 2)
    assert "Best images" in words.data
