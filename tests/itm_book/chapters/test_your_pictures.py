"""A trained matcher meets pictures without captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from itm_book.chapters import your_pictures
from itm_book.figures import attention_maps, retrieval_examples
from itm_book.pairs.pair_records import pair_record
from itm_book.pairs.word_maps import explain
from itm_book.photographs.backbones import Colour
from itm_core.data.dataset import Dataset, load_dataset
from itm_core.errors import InputError
from itm_core.experiments import runs
from itm_core.experiments.runs import Run
from tests.micro import SMALL, write_dataset

COLOURS = {
    "red": (220, 20, 20),
    "green": (20, 200, 20),
    "blue": (20, 20, 220),
    "white": (250, 250, 250),
    "black": (5, 5, 5),
    "pink": (220, 20, 160),
}


def paint(path: Path, colour: str, seed: int = 0) -> None:
    """Write a picture of one colour, with so much noise that no two are the same."""
    path.parent.mkdir(exist_ok=True)
    noise = np.random.default_rng(seed).integers(-4, 5, (30, 40, 3))
    Image.fromarray((noise + COLOURS[colour]).clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Run, Path]:
    """A dataset whose pictures have the colours that its captions name, and a run on it."""
    folder = tmp_path_factory.mktemp("painted")
    first = write_dataset(folder / "first", images=24)
    for split in ("train", "dev", "test"):
        lines = (first / f"{split}_caps.txt").read_text().splitlines()[::5]
        ids = (first / f"{split}_ids.txt").read_text().split()[::5]
        for name, line in zip(ids, lines, strict=True):
            paint(first / "pictures" / f"{name}.png", line.split()[1], int(name))
    data = your_pictures.dataset_for(first, Colour(), folder / "made", progress=False)
    changes = (*SMALL, "training.epochs=8")
    run = runs.train_or_load(
        data, "scan-t2i-mean", overrides=changes, root=folder / "runs", progress=False, device="cpu"
    )
    return data, run, folder


def test_the_dataset_keeps_what_it_had(painted: tuple[Dataset, Run, Path]) -> None:
    data, run, folder = painted
    first = load_dataset(folder / "first")
    assert data.train.captions == first.train.captions
    assert data.train.ids == first.train.ids
    assert run.config["features"] == Colour().identity
    same = your_pictures.dataset_for(data.folder, Colour(), folder / "unused", progress=False)
    assert same.folder == data.folder
    assert not (folder / "unused").exists()


def test_a_sentence_finds_the_picture_of_its_colour(painted: tuple[Dataset, Run, Path]) -> None:
    _, run, folder = painted
    for colour in COLOURS:
        paint(folder / "mine" / f"{colour}.png", colour)
    mine = your_pictures.describe(folder / "mine", Colour(), folder / "own", progress=False)
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


def test_words_that_it_does_not_know_are_words(painted: tuple[Dataset, Run, Path]) -> None:
    _, run, _ = painted
    words = your_pictures.unknown_words(run, ["a red zebra sees a zebra", "a red ball"])
    assert words["unknown"].tolist() == ["zebra, sees", "none"]


def test_what_cannot_be_asked(painted: tuple[Dataset, Run, Path], tmp_path: Path) -> None:
    _, run, _ = painted
    paint(tmp_path / "mine" / "a.png", "red")
    mine = your_pictures.describe(tmp_path / "mine", Colour(), tmp_path / "own", progress=False)
    with pytest.raises(InputError, match="no sentence to search with"):
        your_pictures.with_sentences(run, mine, ["a ball", " "])
    other = Colour()
    other.identity = other.identity | {"version": 0}
    mine = your_pictures.describe(tmp_path / "mine", other, tmp_path / "own", progress=False)
    with pytest.raises(InputError, match="trained on other features"):
        your_pictures.with_sentences(run, mine, ["a ball"])


def test_best_images_without_pictures_are_a_list(painted: tuple[Dataset, Run, Path]) -> None:
    folder = painted[2]
    bare = write_dataset(folder / "bare")
    split = load_dataset(bare).test
    words = retrieval_examples.searches(split, np.eye(12, 60, dtype=np.float32), 2)
    assert "Best images" in words.data
