"""The command line: what it prints, and exit code 2 with one message for bad input."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import itm_core
from itm_core import cli
from itm_core.cli import main
from itm_core.json_files import read_json, write_json
from tests.micro import SMALL, write_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "micro")


def overrides() -> list[str]:
    return [word for change in SMALL for word in ("--set", change)]


def test_training_prints_the_numbers_and_the_folder(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "train",
        "--dataset",
        str(dataset),
        "--recipe",
        "scan-t2i-mean",
        "--root",
        str(tmp_path / "runs"),
        "--device",
        "cpu",
        *overrides(),
    ]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "R@1" in printed
    assert "rSum" in printed
    assert str(tmp_path / "runs") in printed
    assert main(["runs", "--root", str(tmp_path / "runs")]) == 0
    assert "scan-t2i-mean" in capsys.readouterr().out


def break_features(folder: Path, change: str) -> None:
    path = folder / "train_ims.npy"
    features = np.load(path)
    if change == "nan":
        features[3, 1, 0] = np.nan
    elif change == "count":
        features = features[:-1]
    elif change == "shape":
        features = features[:, 0]
    np.save(path, features.astype(np.float64) if change == "float64" else features)
    if change == "truncated":
        path.write_bytes(path.read_bytes()[:-50])


def break_texts(folder: Path, change: str) -> None:
    path = folder / "dev_caps.txt"
    lines = path.read_text().splitlines()
    if change == "empty caption":
        lines[6] = " "
    elif change == "long caption":
        lines[6] = "red " * 500
    path.write_text("\n".join(lines) + "\n")
    if change == "missing split":
        (folder / "dev_ims.npy").unlink()
    elif change == "overlap":
        names = "".join(f"dog_{row}.jpg\n" for row in range(12))
        for split in ("train", "dev"):
            (folder / f"{split}_ids.txt").write_text(names)
    elif change == "no <unk>":
        (folder / "vocab.json").write_text('{"word2idx": {"<start>": 1, "<end>": 2}}')


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("nan", "train_ims.npy, row 3: a region feature is not finite"),
        (
            "count",
            "captions for each of the 11 images in train_ims.npy, found 60 captions",
        ),
        ("shape", "expected [images, regions, width], found [12, 11]"),
        ("float64", "expected float32, found float64"),
        ("truncated", "train_ims.npy: not a whole .npy file"),
        ("empty caption", "dev_caps.txt, row 7: an empty caption"),
        ("long caption", "dev_caps.txt, row 7: a caption is too long"),
        ("missing split", "dev_ims.npy: no dev split here; found splits test, train"),
        ("overlap", "is in the train split too"),
        ("no <unk>", "vocab.json: the vocabulary has no <unk>"),
    ],
)
def test_bad_data_is_one_message_and_trains_nothing(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    break_features(dataset, change)
    break_texts(dataset, change)
    root = tmp_path / "runs"
    code = main(
        ["train", "--dataset", str(dataset), "--recipe", "scan-t2i-mean", "--root", str(root)]
    )
    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1
    assert not root.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "scam"], "unknown recipe"),
        (["--recipe", "scan-t2i-mean", "--set", "training.epoch=1"], "unknown key of training"),
        (["--recipe", "scan-t2i-mean", "--device", "cuda:7"], "no such device"),
        (["--recipe", "scan-t2i-mean", "--seed", "-1"], "--seed: expected a whole number"),
    ],
)
def test_bad_arguments_are_one_message(
    dataset: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["train", "--dataset", str(dataset), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_plan_with_a_seed_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for seed in ("-1", str(2**32)):
        assert main(["grid", "scan", "--seeds", "0", seed, "--dry-run"]) == 2
        assert f"--seeds: expected a whole number from 0 to 4294967295, found '{seed}'" in (
            capsys.readouterr().err
        )


def test_check_tells_what_a_folder_holds(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(dataset)]) == 0
    assert "train: 12 images, 4 regions of 11, 60 captions" in capsys.readouterr().out


def test_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert re.search("^  scan-i2t-LSE +i2t ", listed, re.MULTILINE)
    assert re.search("^  -coco +1024 ", listed, re.MULTILINE)


def test_exporting_records_what_is_there_and_says_how_much(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = tmp_path / "one.yml"
    changes = ", ".join(SMALL)
    grid.write_text(
        "title: one row\nsizes: {tiny: {dataset: micro, profile: scenes, seeds: [0, 1]}}\n"
        f"rows: {{SCAN: {{recipe: scan-t2i-mean, changes: [{changes}]}}, SAF: {{recipe: saf}}}}\n"
        "ensembles: {both: [SCAN, SAF]}\n",
        encoding="utf-8",
    )
    root, record = tmp_path / "runs", tmp_path / "results" / "runs.csv"
    train = ["train", "--dataset", str(dataset), "--recipe", "scan-t2i-mean"]
    assert main([*train, "--root", str(root), "--device", "cpu", *overrides()]) == 0
    export = ["results", "export", str(grid), "--size", "tiny", "--data", str(tmp_path)]
    assert main([*export, "--root", str(root), "--record", str(record)]) == 0
    printed = capsys.readouterr().out
    assert "one: 1 results of 6 runs and ensembles" in printed
    assert record.read_text(encoding="utf-8").count("\n") == 2
    assert main([*export, "--root", str(root)]) == 0  # beside the store, which is the same place
    assert f"recorded in {record}" in capsys.readouterr().out
    assert main(["results", "export", "nothing"]) == 2
    before = record.read_bytes()
    (environment,) = root.glob("*/*/*/environment.json")
    write_json(environment, read_json(environment) | {"commit": "c0082a58b567+"})
    assert main([*export, "--root", str(root), "--record", str(record)]) == 2
    printed = capsys.readouterr()
    assert "1 of 1: micro/scan-t2i-mean/0-" in printed.err
    assert (
        "(c0082a58b567+). Remedy: commit the code, delete the folders of these runs" in printed.err
    )
    assert "recorded in" not in printed.out
    assert record.read_bytes() == before


def test_an_export_names_its_grids_and_needs_their_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ["results", "export", "--data", str(tmp_path), "--record", str(tmp_path / "runs.csv")]
    assert main(export) == 2
    assert "required: GRID" in capsys.readouterr().err
    assert main([*export, "flickr8k", "--size", "record"]) == 2
    assert "flickr8k-regions" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_reader_that_goes_away_is_no_error() -> None:
    program = "from itm_core.cli import entry; import sys; sys.argv = ['itm', 'recipes']; entry()"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trian", "no such command; expected one of .*, found trian. Remedy: did you mean train?"),
        ("data mak", "no such command; .* found mak. Remedy: did you mean make?"),
        ("bench scorin", r"no such command; .* did you mean scoring\?"),
        (
            "train --recipie chan",
            r"itm train has no such option; found --recipie. Remedy: did you ",
        ),
        ("runs --rooot=x", r"itm runs has no such option; found --rooot. .* you mean --root\?"),
        ("runs --colour", r"itm runs has no such option; .* itm runs --help lists its options"),
        ("data list flickr9k", r"unknown dataset; .* did you mean flickr8k\?"),
        ("grid rcra", r".*grid not found; .* did you mean rcar\?"),
        ("grid rcar --size smok", r"unknown value of size of .* did you mean smoke\?"),
        ("grid rcar --rows base --dry-run", r"unknown value of row of grid rcar; "),
        ("recipes scan", r"unknown recipe; expected for example scan-t2i-mean, "),
        ("recipes scan-t2i-maen+rcar", r"unknown recipe; .* did you mean scan-t2i-mean\+rcar\?"),
        ("scenes --preset smal", r"unknown preset; .* did you mean small\?"),
    ],
)
def test_a_misspelt_command_is_answered_with_the_one_that_may_be_meant(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    assert re.match(f"itm: {message}", capsys.readouterr().err)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"itm {itm_core.__version__}\n"


@pytest.mark.parametrize("words", [[], ["help"]])
def test_without_a_command_the_help_is_printed(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert "\ntrain and evaluate:\n    train " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["data", "gallery", "results", "bench"])
def test_a_command_with_commands_alone_prints_its_help(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name]) == 0
    assert f"usage: itm {name}" in capsys.readouterr().out


def test_a_misspelt_setting_is_answered_with_the_one_that_may_be_meant(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "--dataset", str(dataset), "--recipe", "scan-t2i-mean", "--set"]
    for change, meant in (
        ("training.epoch=1", "epochs"),
        ("trainig.epochs=1", "training"),
        ("matcher.direction=t2", "t2i"),
    ):
        assert main([*train, change]) == 2
        assert f"Remedy: did you mean {meant}?" in capsys.readouterr().err
    beside = str(dataset.with_name(f"{dataset.name}s"))
    assert main(["train", "--dataset", beside, "--recipe", "scan-t2i-mean"]) == 2
    assert f"Remedy: did you mean {dataset}?" in capsys.readouterr().err


@pytest.mark.parametrize("shell", cli.SHELLS)
def test_what_completes_the_words_of_a_shell_is_printed(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    assert "_ARGCOMPLETE" in printed
    assert "itm" in printed


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("itm tra", "train"),
        ("itm train --pro", "--processes"),
        ("itm data d", "doctor"),
        ("itm train --recipe scan-t2i-me", "scan-t2i-mean-smoke"),
        ("itm grid rc", "rcar"),
        ("itm data get flickr8", "flickr8k"),
    ],
)
def test_a_shell_is_answered(line: str, word: str, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    variables = {
        **{"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line))},
        **{"_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n"},
    }
    program = "import sys; sys.argv = ['itm']; from itm_core.cli import entry; entry()"
    subprocess.run([sys.executable, "-c", program], env=os.environ | variables, check=True)
    assert word in [found.strip() for found in answer.read_text().split("\n")]
