"""Word vectors of GloVe's and fastText's files: found, counted, recorded, or refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from itm_core.cli import main
from itm_core.data.dataset import load_dataset
from itm_core.data.word_vectors import read_vectors
from itm_core.errors import InputError
from itm_core.experiments import recipes, runs
from tests.micro import SMALL, write_dataset

GLOVE = "dog 1 2 3\n. . 9 9 9\nred 4 5 6\ndog 7 8 9\ncafé 0.5 -1e-2 0\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "vectors.txt"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("header", ["", "4 3\n"])
@pytest.mark.parametrize("delimiter", [" ", "\t"])
def test_the_first_vector_of_each_wanted_word(tmp_path: Path, header: str, delimiter: str) -> None:
    text = (header + GLOVE).replace(" ", delimiter)
    found = read_vectors(written(tmp_path, text), ["red", "dog", ".", "café", "cat"], 3)
    assert {word: vector.tolist() for word, vector in found.items()} == {
        "dog": [1, 2, 3],
        "red": [4, 5, 6],
        "café": [0.5, np.float32(-0.01), 0],
    }


def test_tabs_and_words_of_several_parts(tmp_path: Path) -> None:
    text = "dog\t1\t2\t3\r\nto name@domain.com 9 9 9\r\n\r\n"
    found = read_vectors(written(tmp_path, text), ["dog", "to"], 3)
    assert {word: vector.tolist() for word, vector in found.items()} == {"dog": [1, 2, 3]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<<<<<<< HEAD\ndog 1 2 3\n", "row 1: not a file of word vectors.*found <<<<<<< HEAD"),
        ("version https://git-lfs.github.com/spec/v1\n", "row 1: not a file of word vectors"),
        ("9 3\ndog 9:0.02 11:0.3\n", "row 2: not a file of word vectors"),
        ("dog_NN 1 2 3\ncat_NN 1 2 3\n", "none of the words is in this file"),
        ("dog 1 2\n", "another width; expected 3 numbers.*found 2.*encoder.word_width=2"),
        ("5 300\ndog 1\n", "another width; expected 3 numbers.*found 300"),
        ("", "another width.*found 0"),
        ("cat 1 2 3\ndog 1 2", "row 2: not a line of a word and its vector"),
        ("cat 1 2 3\ndog 1 b 3\n", "row 2: not a line"),
        ("cat 1 2 3\ndog 1 nan 3\n", "row 2: not a line"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_vectors(written(tmp_path, text), ["dog"], 3)


def test_a_run_starts_from_them_and_records_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_dataset(tmp_path / "set")
    path = written(tmp_path, "dog 1 2 3 4 5 6\n. 1 1 1 1 1 1\nred 0 0 0 0 0 9\n")
    data = load_dataset(folder)
    recipe = recipes.get("scan-t2i-mean").replace(*SMALL, f"encoder.word_vectors={path}")
    recipe = recipe.replace("training.epochs=1")
    root = tmp_path / "runs"
    run = runs.train_or_load(data, recipe, root=root, device="cpu", progress=False)
    assert run.config["word_vectors"] == hashlib.sha256(path.read_bytes()).hexdigest()
    words = [word for word in data.vocabulary.ids if word.isalpha()]
    assert run.environment["word_vectors"] == {"file": str(path), "words": len(words), "found": 2}
    assert main(["runs", "--root", str(root)]) == 0
    assert f"{200 / len(words):.1f} % of {len(words)} words in {path}" in capsys.readouterr().out
    start = run.initial_matcher().words.get_submodule("embed").get_parameter("weight").detach()
    assert start[data.vocabulary.ids["dog"]].tolist() == [1, 2, 3, 4, 5, 6]
    assert float(start[data.vocabulary.ids["cat"]].abs().max()) <= 0.1
    path.unlink()
    run.matcher()  # needs no file
    with pytest.raises(InputError, match="no word vectors here.*itm data get glove"):
        run.initial_matcher()


def test_the_default_leaves_folders_and_configurations_as_they_were(tmp_path: Path) -> None:
    data = load_dataset(write_dataset(tmp_path))
    config = runs.configuration(data, recipes.get("scan-t2i-mean"), 0)
    assert "word_vectors" not in config
    before = config | {"recipe": {**config["recipe"], "encoder": dict(config["recipe"]["encoder"])}}
    del before["recipe"]["encoder"]["word_vectors"]
    assert runs.folder_of(before) == runs.folder_of(config)


def test_bert_has_its_own() -> None:
    changes = ("encoder.text_encoder=bert", "encoder.bert=minilm", "encoder.word_vectors=glove")
    with pytest.raises(InputError, match="bert has vectors of its own"):
        recipes.get("scan-t2i-mean").replace(*changes)
