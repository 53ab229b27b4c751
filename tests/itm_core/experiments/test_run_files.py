"""A run and its files: what was changed, cut or removed is refused, with a remedy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from itm_core.cli import main
from itm_core.data.dataset import load_dataset
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.experiments import recipes
from itm_core.experiments.run import Run, load
from itm_core.experiments.run_folder import FILES, NOTED
from itm_core.experiments.runs import (
    Spec,
    all_runs,
    configuration,
    folder_of,
    train_many,
    train_or_load,
)
from itm_core.files import sha256
from itm_core.json_files import read_json, write_json
from tests.damages import refusals
from tests.micro import SMALL, write_dataset


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of one small run."""
    place = tmp_path_factory.mktemp("files")
    data = write_dataset(place / "micro")
    train_or_load(
        data, "scan-t2i-mean", root=place / "runs", overrides=SMALL, device="cpu", progress=False
    )
    return place / "runs"


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    """A copy of the store."""
    return shutil.copytree(trained, tmp_path / "runs")


@pytest.fixture
def folder(root: Path) -> Path:
    """The folder of the run."""
    return all_runs(root)[0].folder


def read_all(run: Run) -> None:
    """Read everything that decides the numbers of a run."""
    run.require_whole()
    assert len(run.vocabulary) > 4
    assert run.caption_image.any()
    assert run.recipe.training.epochs
    run.matcher()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def change(path: Path) -> None:
    path.write_text(path.read_text().replace("1", "2", 1))


def swap_ids(path: Path) -> None:
    ids = json.loads(path.read_text())["word2idx"]
    first, second = [*ids][-2:]
    write_json(path, {"word2idx": ids | {first: ids[second], second: ids[first]}})


def test_a_run_names_its_files(folder: Path) -> None:
    note = read_json(folder / FILES)
    assert note == {n: sha256(folder / n) for n in NOTED if (folder / n).exists()}
    assert len(note) == 5
    read_all(load(folder))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("best.safetensors", flip),
        ("test_scores.npy", flip),
        ("vocabulary.json", swap_ids),
        ("config.json", change),
        ("metrics.json", change),
    ],
)
def test_another_file_is_refused(name: str, damage: Callable[[Path], None], folder: Path) -> None:
    before = sha256(folder / name)
    damage(folder / name)
    with pytest.raises(InputError, match="not the file that this run was finished with") as error:
        read_all(load(folder))
    text = str(error.value)
    for part in (folder / name, before, sha256(folder / name), "train the run again"):
        assert str(part) in text


@pytest.mark.parametrize("name", ["best.safetensors", "test_scores.npy", "vocabulary.json"])
def test_a_file_that_is_gone_is_refused(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name}: file not found"):
        read_all(load(folder))


def test_images_of_captions_that_are_gone_are_refused(folder: Path) -> None:
    note = read_json(folder / FILES)
    write_json(folder / FILES, note | {"test_caption_image.npy": "0" * 64})
    with pytest.raises(InputError, match=r"test_caption_image\.npy: file not found"):
        read_all(load(folder))


def test_a_former_run_without_a_note_is_read(folder: Path) -> None:
    (folder / FILES).unlink()
    swap_ids(folder / "vocabulary.json")
    read_all(load(folder))


@pytest.mark.parametrize("note", ['{"best.safetensors": 3}', '{"x": "y"}', "[]", "{", ""])
def test_a_damaged_note_is_refused(note: str, folder: Path) -> None:
    (folder / FILES).write_text(note)
    with pytest.raises(InputError, match=rf"{FILES}"):
        load(folder)


WEIGHTS: dict[str, Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]] = {
    "NaN": lambda w: {name: it * torch.nan for name, it in w.items()},
    "infinity": lambda w: {name: it / 0 for name, it in w.items()},
    "other shapes": lambda w: {name: it[..., :1].contiguous() for name, it in w.items()},
    "another type": lambda w: {name: it.to(torch.complex64) for name, it in w.items()},
    "none": lambda w: {},
    "one less": lambda w: dict([*w.items()][1:]),
    "one more": lambda w: w | {"x": torch.zeros(1)},
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_that_do_not_fit_are_refused(kind: str, folder: Path) -> None:
    (folder / FILES).unlink()
    path = folder / "best.safetensors"
    save_file(WEIGHTS[kind](load_file(path)), path)
    with pytest.raises(InputError, match="delete .* and train the run again"):
        load(folder).matcher()


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff" * 99, b"x", b"\x02\0\0\0\0\0\0\0{}"])
def test_weights_that_cannot_be_read_are_refused(content: bytes, folder: Path) -> None:
    (folder / FILES).unlink()
    (folder / "best.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"best\.safetensors"):
        load(folder).matcher()


@pytest.mark.parametrize(
    "scores",
    [np.zeros(3, np.float32), np.full((2, 2), np.nan, np.float32), np.zeros((2, 2)), {"a": 1}],
    ids=["flat", "NaN", "float64", "pickled"],
)
def test_scores_that_are_none_are_refused(scores: object, folder: Path) -> None:
    (folder / FILES).unlink()
    np.save(folder / "test_scores.npy", np.array(scores))
    with pytest.raises(InputError, match=r"test_scores\.npy"):
        _ = load(folder).scores


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x\n",
        "epoch,loss\n1,2\n",
        "epoch,loss,rsum,seconds\n1,x,2,3\n",
        "epoch,loss,rsum,seconds\n1,1,2,3\n1,1,2,3\n",
    ],
)
def test_a_curve_that_is_none_is_refused(text: str, folder: Path) -> None:
    (folder / "curve.csv").write_text(text)
    with pytest.raises(
        InputError, match=r"curve\.csv: not (a learning curve|readable as CSV).*Remedy"
    ):
        _ = load(folder).curve


def test_every_damage_of_the_configuration_is_one_message(folder: Path) -> None:
    (folder / FILES).unlink()
    assert refusals(folder / "config.json", lambda: read_all(load(folder))) > 700


def test_every_damage_of_the_numbers_is_one_message(folder: Path) -> None:
    (folder / FILES).unlink()
    assert refusals(folder / "metrics.json", lambda: retrieval.text(load(folder).metrics)) > 300


def test_a_damaged_run_is_listed_among_the_others(
    root: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (name, content) in enumerate(
        [
            ("metrics.json", "{}"),
            ("metrics.json", '{"rsum": "x"}'),
            ("config.json", "{}"),
            ("config.json", "["),
            (FILES, "3"),
        ]
    ):
        copy = shutil.copytree(folder, folder.with_name(f"{number}-other"))
        (copy / FILES).unlink()
        (copy / name).write_text(content)
    without = shutil.copytree(folder, folder.with_name("9-other"))
    (without / "best.safetensors").unlink()
    assert main(["runs", "--root", str(root)]) == 0
    out, error = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 8  # a head and seven runs
    assert sum(line.startswith("damaged  ") for line in lines) == 6
    assert any(line.endswith(str(folder)) and line.strip()[0].isdigit() for line in lines)
    assert "9-other/best.safetensors: file not found" in lines[-1]
    assert error == "6 of 7 runs are damaged\n"


@pytest.mark.parametrize("names", [[], ["config.json", "metrics.json"]])
def test_a_note_that_leaves_files_out_is_refused(folder: Path, names: list[str]) -> None:
    note = read_json(folder / FILES)
    write_json(folder / FILES, {name: note[name] for name in names})
    with pytest.raises(InputError, match=r"files\.json: not a note .* expected .*best\.safetens"):
        load(folder)


def test_a_run_that_was_copied_to_the_folder_of_another_is_refused(
    root: Path, trained: Path
) -> None:
    data = trained.parent / "micro"
    folder = all_runs(root)[0].folder
    config = configuration(load_dataset(data), recipes.get("scan-t2i-mean").replace(*SMALL), 1)
    shutil.copytree(folder, folder_of(config, root))
    options: dict[str, Any] = {"root": root, "device": "cpu", "progress": False}
    with pytest.raises(InputError, match="another run has been put .* seed 0"):
        train_or_load(data, "scan-t2i-mean", seed=1, overrides=SMALL, **options)
    with pytest.raises(InputError, match="another run has been put .* seed 0"):
        train_many(data, [Spec("scan-t2i-mean", 1, SMALL)], **options)
    assert train_or_load(data, "scan-t2i-mean", overrides=SMALL, **options).folder == folder
