"""A run that is shipped: its folder, its card, what loads it; and those in the clone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from itm_book.checkpoints import shipped_matchers, shipping
from itm_book.checkpoints.imported_runs import load_run, scored, weights_hash
from itm_book.checkpoints.shipping import MAX_BYTES, ship
from itm_core.cli import main
from itm_core.data.dataset import Dataset
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments.prepare import prepare
from itm_core.experiments.run import Run
from itm_core.experiments.run_folder import FILES, RunState
from tests.painted import painted_dataset, painted_run

IN_CLONE = shipped_matchers.names()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shipped")


@pytest.fixture(scope="module")
def data(place: Path) -> Dataset:
    return painted_dataset(place)


@pytest.fixture(scope="module")
def run(place: Path, data: Dataset) -> Run:
    return painted_run(data, place / "runs", "rcar-t2i")


@pytest.fixture(scope="module")
def home(place: Path, data: Dataset, run: Run) -> Path:
    ship(run, "colours", data, terms="Free.", title="RCAR", home=place / "models", progress=False)
    return place / "models"


def header(folder: Path) -> dict[str, Any]:
    _, text, _ = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(text)


def test_it_computes_with_the_weights_rounded(home: Path, run: Run, data: Dataset) -> None:
    matcher = shipped_matchers.load("colours", home).matcher()
    for name, value in run.matcher().state_dict().items():
        rounded = matcher.state_dict()[name]
        assert rounded.dtype == value.dtype
        assert torch.equal(rounded, value.half().float() if value.is_floating_point() else value)
    files = load_file(home / "colours" / "best.safetensors").values()
    assert {value.dtype for value in files} <= {torch.float16, torch.int64}


def test_it_is_a_run_that_needs_no_dataset(home: Path, run: Run) -> None:
    shipped = shipped_matchers.load("colours", home)
    assert shipped.state is RunState.IMPORTED
    assert shipped.recipe == run.recipe
    assert shipped.vocabulary.ids == run.vocabulary.ids
    assert shipped_matchers.title(shipped) == "RCAR"
    assert list(shipped_matchers.load_all((), home)) == ["RCAR"]
    assert shipped_matchers.load(run.folder, home).folder == run.folder


def test_the_card_has_the_numbers_of_both_precisions(home: Path, run: Run, data: Dataset) -> None:
    shipped = shipped_matchers.load("colours", home)
    test = prepare(data, run.recipe).test
    scores = score_matrix(shipped.matcher(), test.features, test.tokens)
    card, record = (
        header(home / "colours"),
        json.loads((shipped.folder / "import.json").read_text()),
    )
    assert card["test"]["rsum"] == pytest.approx(retrieval.metrics(scores).rsum)
    assert record["test"]["float32"]["rsum"] == pytest.approx(run.metrics["rsum"])
    largest = np.abs(scores - run.scores).max()
    assert record["largest_difference"] == pytest.approx(largest, rel=1e-5)
    assert 0 < largest < 0.01
    ranks = [retrieval.ranks(values) for values in (run.scores, scores)]
    assert record["moved_ranks"]["t2i"] == (ranks[0].t2i != ranks[1].t2i).sum()
    text = (home / "colours" / "README.md").read_text()
    assert "Free." in text
    for column in ("as trained, float32", "as shipped, float16"):
        assert f"| {column} | image to text | " in text
    assert card["features"] == run.config["features"]
    assert (card["boxes"], card["commit"]) == ("grid", run.environment["commit"])


def test_the_store_and_the_commands_take_it(
    home: Path, data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home / "colours"
    on_test = scored(folder, data, root=tmp_path / "runs", progress=False, device="cpu")
    assert on_test.metrics["rsum"] == pytest.approx(header(folder)["test"]["rsum"])
    gallery = tmp_path / "gallery"
    assert main(["index", str(data.folder), str(gallery), "--run", str(folder)]) == 0
    assert main(["search", str(gallery), "a red ball", "--top", "3"]) == 0
    assert capsys.readouterr().out.count("\n") >= 4


def test_the_command_ships_a_run(
    run: Run, data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["results", "ship", str(run.folder), "mine", "--dataset", str(data.folder)]
    assert main([*words, "--models", str(tmp_path)]) == 2  # whose terms are not known
    assert "unknown dataset" in capsys.readouterr().err
    assert main([*words, "--models", str(tmp_path), "--terms", "Free.", "--title", "Mine"]) == 0
    out = capsys.readouterr().out
    assert out.count("rSum") == 2
    assert f"{tmp_path / 'mine'}: weights of" in out
    assert list(shipped_matchers.load_all((), tmp_path)) == ["Mine"]


@pytest.mark.parametrize("noted", [True, False])
def test_other_weights_are_refused(noted: bool, home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "colours"
    shutil.copytree(home / "colours", copy)
    if not noted:  # a former one: its configuration alone names the weights
        (copy / FILES).unlink()
    weights = load_file(copy / "best.safetensors")
    name = next(name for name, value in weights.items() if value.is_floating_point())
    save_file(weights | {name: weights[name] + 1}, copy / "best.safetensors")
    with pytest.raises(InputError, match=r"not the (weights|file) that .*git checkout"):
        load_run(copy)
    (copy / "best.safetensors").unlink()
    with pytest.raises(InputError, match=r"checkpoint not found.*git checkout"):
        load_run(copy)


def test_what_cannot_be_shipped_is_refused(
    home: Path, run: Run, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(match: str, name: str = "new", run: Run = run, data: Dataset = data) -> None:
        with pytest.raises(InputError, match=match):
            ship(run, name, data, terms="Free.", home=tmp_path, progress=False)
        assert list(tmp_path.iterdir()) == []

    refused("not a name for a matcher", name="a/b")
    refused("only a finished run", run=shipped_matchers.load("colours", home))
    test = replace(data.test, captions=data.test.captions[::-1])
    refused("trained on other data", data=replace(data, test=test))
    with pytest.raises(InputError, match="exists already"):
        ship(run, "colours", data, terms="Free.", home=home, progress=False)
    monkeypatch.setitem(run.environment, "commit", "c0082a58b567+")
    refused("uncommitted changes")
    monkeypatch.undo()
    monkeypatch.setattr(shipping, "MAX_BYTES", 100)
    refused("too large to ship")


def test_a_weight_that_float16_cannot_hold_is_named(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.folder, copy)
    weights = load_file(copy / "best.safetensors")
    name = next(name for name, value in weights.items() if value.is_floating_point())
    save_file(weights | {name: weights[name] + 1e5}, copy / "best.safetensors")
    (copy / FILES).unlink()
    with pytest.raises(InputError, match=f"beyond the range of float16.*{name}"):
        shipping.half(Run(copy))


def test_matchers_of_one_title_are_all_there(run: Run, home: Path, tmp_path: Path) -> None:
    first = shipped_matchers.load("colours", home).folder
    again, other = (shutil.copytree(first, tmp_path / name) for name in ("again", "other"))
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"seed": 1}))
    (other / FILES).unlink()
    named = shipped_matchers.load_all([str(first), str(again), str(other), str(first)])
    assert [*named] == [f"RCAR, seed 0, {first}", f"RCAR, seed 0, {again}", "RCAR, seed 1"]


def test_no_such_matcher(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such matcher.*colours.*found zebra"):
        shipped_matchers.load("zebra", home)
    with pytest.raises(InputError, match="no matcher is shipped"):
        shipped_matchers.load_all((), tmp_path)


@pytest.mark.parametrize("name", IN_CLONE)
def test_the_matchers_of_the_clone_are_whole(name: str) -> None:
    folder = shipped_matchers.HOME / name
    run, card = shipped_matchers.load(name), header(folder)
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "best.safetensors",
        "config.json",
        "environment.json",
        FILES,
        "import.json",
        "vocabulary.json",
    }
    assert (folder / "best.safetensors").stat().st_size <= MAX_BYTES
    assert card["weights"] == weights_hash(run)
    assert card["recipe"] == run.recipe.name
    assert card["words"] == len(run.vocabulary)
    assert card["features"] == run.config["features"]
    assert card["boxes"] == run.config["boxes"]
    assert not str(card["commit"]).endswith("+")
    assert run.matcher().state_dict()
    record = json.loads((folder / "import.json").read_text())["test"]["float16"]
    assert all(record[key] == value for key, value in card["test"].items())
