"""Scores that are normalised after a job: files, banks of the training split, what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from itm_book.batch import normalised_scores
from itm_book.batch.normalised_scores import normalised, score_bank, training_split
from itm_core.cli import main
from itm_core.data.dataset import load_split
from itm_core.errors import InputError
from itm_core.evaluation import hubness, retrieval
from itm_core.evaluation.recalls import NORMALISATIONS
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments import runs
from itm_core.experiments.prepare import encode
from itm_core.json_files import read_json
from tests.micro import SMALL, write_dataset

IMAGES = 13


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    place = tmp_path_factory.mktemp("hubs")
    write_dataset(place / "micro", images=IMAGES)
    given = {"overrides": SMALL, "root": place / "runs", "device": "cpu", "progress": False}
    return runs.train_or_load(place / "micro", "scan-t2i-mean", **given)


@pytest.fixture
def data(run: runs.Run, tmp_path: Path) -> Path:
    """A copy of the dataset of the run, under its name."""
    return Path(shutil.copytree(run.folder.parents[3] / "micro", tmp_path / "micro"))


def test_a_bank_has_the_scores_of_training_images_and_their_first_captions(
    run: runs.Run, data: Path
) -> None:
    test, train = load_split(data, "test"), load_split(data, "train")
    bank = score_bank([run, run], test, train, size=5)
    matcher, places = run.matcher(), [0, 3, 6, 9, 12]  # every third of 13 images
    ids = [encode(split, run.vocabulary) for split in (train, test)]
    captions = score_matrix(matcher, test.regions, [ids[0][5 * place] for place in places])
    np.testing.assert_allclose(bank.captions, captions, atol=1e-6)
    images = score_matrix(matcher, train.regions[places], ids[1])
    np.testing.assert_allclose(bank.images, images, atol=1e-6)
    assert score_bank([run], test, train, size=500).images.shape == (IMAGES, 5 * IMAGES)
    with pytest.raises(InputError, match="size of the bank is too small"):
        score_bank([run], test, train, size=0)


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_the_command_writes_both_matrices(
    run: runs.Run, data: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data.parent / "out"
    words = ["score", str(run.folder), str(data), "--out", str(out), "--device", "cpu"]
    assert main([*words, "--normalise", name]) == 0
    plain, found = np.load(out / "scores.npy"), np.load(out / f"scores-{name}.npy")
    test, train = load_split(data, "test"), load_split(data, "train")
    bank = score_bank([run], test, train) if name == "querybank" else None
    np.testing.assert_allclose(found, normalised(plain, name, bank), atol=1e-5)
    metrics = read_json(out / f"metrics-{name}.json")
    assert metrics["rsum"] == pytest.approx(retrieval.metrics(found).rsum)
    assert metrics["hubness"]["before"]["t2i"] == {
        "skewness": hubness.hubness(plain, 10)["t2i"].skewness,
        "never": hubness.hubness(plain, 1)["t2i"].never,
    }
    assert read_json(out / "metrics.json") == retrieval.report(plain)
    told = capsys.readouterr().out
    queries = f"{IMAGES} training queries" if bank else "the test queries together (transductive"
    assert f"normalised by {name}, with {queries}" in told
    assert told.count("rSum") == 3
    assert "hubness of images: skewness " in told


def test_a_querybank_without_a_training_split_says_that_it_is_transductive(
    run: runs.Run, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in data.glob("train_*"):
        part.unlink()
    assert training_split(load_split(data, "test")) is None
    out = data.parent / "out"
    words = ["score", str(run.folder), str(data), "--out", str(out), "--device", "cpu"]
    assert main([*words, "--normalise", "querybank"]) == 0
    assert "the test queries together (transductive" in capsys.readouterr().out
    expected = hubness.querybank(np.load(out / "scores.npy"))
    np.testing.assert_allclose(np.load(out / "scores-querybank.npy"), expected, atol=1e-5)


def test_what_holds_parts_of_a_matrix_is_refused_before_anything_is_scored(
    run: runs.Run, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data.parent / "out"
    words = ["score", str(run.folder), str(data), "--out", str(out), "--normalise"]
    for more in (["--folds", "13"], ["--shards", "2", "--top", "3"]):
        assert main([*words, "csls", *more]) == 2
        assert "--normalise needs the full score matrix" in capsys.readouterr().err
    assert main([*words, "softmax"]) == 2
    assert "expected one of sinkhorn, querybank, csls" in capsys.readouterr().err
    assert not out.exists()


def test_small_matrices_have_fewer_neighbours() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 6))
    np.testing.assert_array_equal(normalised(scores, "csls"), hubness.csls(scores, neighbours=3))
    with pytest.raises(InputError, match="unknown value of the normalisation"):
        normalised(scores, "other")
    normalised_scores.refuse_parts(None, top=3, folds=2)
