"""Runs below one another: a column for each word, a row for each run."""

from __future__ import annotations

from pathlib import Path

from itm_core import report, runs
from itm_core.data.precomp import load_dataset
from itm_core.data.scenes import make_scenes
from itm_core.data.vocabulary import tokenise
from itm_core.figures import compared_looks
from tests.micro import SMALL, write_dataset

RECIPES = {"hard": "chan", "soft": "scan-t2i-mean"}


def trained(dataset: Path, root: Path) -> dict[str, runs.Run]:
    return {
        name: runs.train_or_load(
            dataset, recipe, root=root, overrides=SMALL, device="cpu", progress=False
        )
        for name, recipe in RECIPES.items()
    }


def test_without_pictures_there_is_a_matrix_for_each_run(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "micro")
    figure = compared_looks.looks(trained(dataset, tmp_path), load_dataset(dataset).test, 0, 0)
    titles = {axes.get_title(loc="left") for axes in figure.axes}
    assert set(RECIPES) <= titles


def test_with_pictures_every_run_is_a_row_and_every_word_a_column(tmp_path: Path) -> None:
    dataset = make_scenes(tmp_path / "scenes", preset="tiny", progress=False)
    split = load_dataset(dataset).test
    figure = compared_looks.looks(trained(dataset, tmp_path), split, 0, 0)
    drawn = [axes for axes in figure.axes if axes.images]
    words = report.content_words(split, 0, tokenise(split.captions[0]))
    assert len(drawn) == len(RECIPES) * len(words)
    assert all(len(axes.patches) == 1 for axes in drawn)
    labels = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert labels == list(RECIPES) * (len(labels) // len(RECIPES))
