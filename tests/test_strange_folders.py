"""The main commands in folders whose names have spaces, umlauts, other scripts, ``#``, ``%``."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from itm_book.batch import engine, planning
from itm_book.records import grids
from itm_book.tables.run_links import run_link
from itm_core.cli import main
from itm_core.experiments.runs import all_runs
from tests.itm_book.batch.stand_in import STAND_IN, write_notebook
from tests.micro import SMALL, write_dataset
from tests.photos import write_photographs

NAME = "Füße & 图片 #1 100% 'x'"
OVERRIDES = [word for change in SMALL for word in ("--set", change)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: its own name, and that of the dataset in it, are strange."""
    folder = tmp_path / NAME
    write_dataset(folder / "data" / NAME)
    monkeypatch.chdir(folder)
    return folder


def test_a_run_is_checked_trained_scored_and_searched(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("faiss")
    data = f"data/{NAME}"
    assert main(["check", data]) == 0
    train = ["train", "--dataset", data, "--recipe", "scan-t2i-mean", "--device", "cpu"]
    assert main([*train, *OVERRIDES]) == 0
    (run,) = all_runs()
    assert run.place.startswith(f"{NAME}/scan-t2i-mean/0-")
    assert main(["score", str(run.folder), data, "--out", NAME]) == 0
    assert (place / NAME / "scores.npy").exists()
    assert main(["index", data, f"{NAME} g", "--run", str(run.folder)]) == 0
    assert main(["search", f"{NAME} g", "a red dog"]) == 0
    assert "a red dog: " in capsys.readouterr().out


def test_photographs_become_features(place: Path) -> None:
    write_photographs(place / f"{NAME} p", 2)
    out = f"{NAME} f"
    make = ["data", "make", f"{NAME} p", "--out", out, "--backbone", "colour", "--boxes", "grid"]
    assert main([*make, "--workers", "1"]) == 0
    assert len(list(Path(out).glob("*_ims.npy"))) == 1


def test_snakemake_runs_a_cell(place: Path) -> None:
    grid = {
        "title": "one row",
        "sizes": {"tiny": {"dataset": NAME, "profile": "scenes", "seeds": [0]}},
        "rows": {"SCAN": {"recipe": "scan-t2i-mean"}},
    }
    Path(f"{NAME}.yml").write_text(yaml.safe_dump(grid), encoding="utf-8")
    planned = planning.prepare(
        grids.load(f"{NAME}.yml"), "tiny", device="cpu", workers=1, data=place / "data"
    )
    planned = replace(planned, notebook=write_notebook(place / "n" / "x.ipynb", STAND_IN))
    (job,) = planned.jobs
    report = engine.run(planned, progress=False)
    assert (report.finished, report.failed) == (1, ()), report.log.read_text()
    assert job.state == "finished"


def test_a_run_of_such_a_dataset_can_be_linked() -> None:
    link = run_link(f"{NAME}/scan-t2i-mean/0-abc")
    fragment = link.partition("#")[2]
    assert re.fullmatch(r"[\w.-]+", fragment)
    assert unquote(link) == link
