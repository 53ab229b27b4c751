"""`itm results attention`: runs measured as `attention_quality` does, recorded once, resumed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from itm_book.records import attention, attention_runs, grids
from itm_book.records.attention import ALL, IOUS, MEASURES, TRAINED, UNIFORM, UNTRAINED
from itm_book.records.grids import Grid
from itm_core.cli import main
from itm_core.data.dataset import load_dataset
from itm_core.errors import InputError
from itm_core.evaluation.attention_quality import attention_quality
from itm_core.experiments.prepare import encode
from itm_core.experiments.run import Run
from itm_core.experiments.runs import train_or_load
from itm_core.json_files import read_json, write_json
from itm_core.models import Matcher
from tests.itm_core.evaluation.test_attention_queries import write_annotated

SMALL = "training.epochs=1, training.batch=8, encoder.embedding=8, encoder.word_width=8"
GRID = f"""
title: three rows
sizes:
  tiny: {{dataset: annotated, profile: smoke, seeds: [0, 1]}}
rows:
  SCAN: {{recipe: scan-t2i-mean, changes: [{SMALL}]}}
  BFAN: {{recipe: bfan-equal, changes: [{SMALL}]}}
  VSE: {{recipe: vse-gpo, changes: [{SMALL}]}}
  SAF: {{recipe: saf, changes: [{SMALL}]}}
"""
TRAINED_ROWS = ("SCAN", "BFAN", "VSE")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attention")
    write_annotated(folder / "annotated", images=6)
    (folder / "three.yml").write_text(GRID, encoding="utf-8")
    grid = grids.load(folder / "three.yml")
    for cell in grid.cells("tiny", rows=TRAINED_ROWS, seeds=[0]):
        train_or_load(
            folder / "annotated",
            cell.spec.recipe,
            seed=cell.spec.seed,
            overrides=cell.spec.overrides,
            root=folder / "runs",
            device="cpu",
            progress=False,
        )
    return folder


@pytest.fixture(scope="module")
def grid(home: Path) -> Grid:
    return grids.load(home / "three.yml")


@pytest.fixture(scope="module")
def lines(home: Path, grid: Grid) -> pd.DataFrame:
    path = home / "attention.csv"
    shown = list(measured(home, grid, path))
    assert [text.partition(":")[0] for text in shown] == [
        f"{name}, seed 0" for name in TRAINED_ROWS
    ]
    assert "t2i pointing 0." in shown[0]
    assert "i2t pointing 0." in shown[1]
    assert shown[2] == "VSE, seed 0: does not attend"
    return attention.recorded(grid, "tiny", path=path)


def measured(home: Path, grid: Grid, path: Path) -> list[str]:
    return list(attention_runs.measure(grid, "tiny", data=home, root=home / "runs", record=path))


def run_of(home: Path, lines: pd.DataFrame, name: str) -> Run:
    return Run(home / "runs" / lines[lines["name"] == name]["run"].iloc[0])


def check(lines: pd.DataFrame, matcher: Matcher, home: Path, side: str) -> None:
    """Compare lines of all kinds with `attention_quality` at every IoU."""
    data = load_dataset(home / "annotated")
    tokens = encode(data.test, data.vocabulary)
    for iou in IOUS:
        expected = attention_quality(matcher, data.test, tokens, threshold=iou)[side]
        (row,) = lines[(lines["iou"] == iou) & (lines["kind"] == ALL)].to_dict("records")
        for measure in MEASURES:
            assert row[measure] == pytest.approx(getattr(expected, measure), abs=1e-5)
        assert row["chance"] == pytest.approx(expected.chance, abs=1e-5)
        assert (row["queries"], row["dropped"]) == (expected.queries, expected.dropped)
        curve = [row[f"{name}_curve"].split() for name in ("precision", "recall", "f1")]
        np.testing.assert_allclose(np.array(curve, float).T, expected.curve, atol=1e-4)


@pytest.mark.parametrize(("name", "side"), [("SCAN", "t2i"), ("BFAN", "t2i"), ("BFAN", "i2t")])
def test_trained_and_untrained_weights(
    name: str, side: str, home: Path, lines: pd.DataFrame
) -> None:
    run = run_of(home, lines, name)
    rows = lines[(lines["name"] == name) & (lines["direction"] == side)]
    check(rows[rows["weights"] == TRAINED], run.matcher(), home, side)
    torch.manual_seed(0)  # as training does before it builds the matcher
    width = load_dataset(home / "annotated").test.regions.shape[2]
    fresh = run.recipe.build(width, len(run.vocabulary), 4).eval()
    check(rows[rows["weights"] == UNTRAINED], fresh, home, side)


def test_uniform_weights_are_chance(lines: pd.DataFrame) -> None:
    uniform = lines[lines["weights"] == UNIFORM]
    assert set(uniform["direction"]) == {"t2i", "i2t"}
    assert set(uniform["name"]) == {UNIFORM}
    for measure in ("precision", "mass", "pointing"):
        np.testing.assert_allclose(uniform[measure], uniform["chance"], atol=1e-9)
    assert (uniform["recall"] == 1).all()
    assert not uniform.duplicated(["direction", "iou", "kind"]).any()


def test_types_are_parts_of_the_whole(lines: pd.DataFrame) -> None:
    rows = lines[(lines["name"] == "SCAN") & (lines["weights"] == TRAINED) & (lines["iou"] == 0.5)]
    by_kind = rows.set_index("kind")
    assert set(by_kind.index) == {ALL, "clothing", "people"}  # of no animal there is a region
    queries, dropped = by_kind["queries"], by_kind["dropped"]
    assert queries["people"] == 30  # one word of every caption
    assert queries["clothing"] + dropped["clothing"] == 60
    assert dropped[ALL] == dropped["clothing"] + 60  # no region shows what "runs" names


def test_images_add_up_to_the_mean(lines: pd.DataFrame) -> None:
    uniform = lines[lines["weights"] == UNIFORM].set_index(["direction", "iou", "kind"])
    with_images = lines[(lines["weights"] != UNIFORM) & (lines["pointing_images"] != "")]
    assert len(with_images)
    for row in with_images.to_dict("records"):
        text = uniform.loc[(row["direction"], row["iou"], row["kind"]), "image_queries"]
        counts = attention.counts_of(text)
        assert counts.sum() == row["queries"]
        for measure in MEASURES:
            if row[f"{measure}_images"]:
                means = attention.means_of(row[f"{measure}_images"], counts)
                assert (counts * means).sum() / counts.sum() == pytest.approx(
                    row[measure], abs=1 / 120 + 1e-6
                )


def test_all_measures_have_images_at_one_half(lines: pd.DataFrame) -> None:
    columns = [f"{measure}_images" for measure in MEASURES]
    main = (lines["iou"] == 0.5) & (lines["kind"] == ALL)
    assert (lines.loc[main, columns] != "").all(axis=None)
    others = lines[~main].drop(columns="pointing_images")
    assert (others[[c for c in columns if c in others]] == "").all(axis=None)


def test_an_interrupted_command_resumes(
    lines: pd.DataFrame, home: Path, grid: Grid, tmp_path: Path
) -> None:
    path, whole = tmp_path / "attention.csv", home / "attention.csv"
    some = attention_runs.measure(grid, "tiny", data=home, root=home / "runs", record=path)
    next(some)  # of two runs the first is recorded
    assert path.exists()
    assert path.read_bytes() != whole.read_bytes()
    shown = measured(home, grid, path)
    assert shown[0] == "SCAN, seed 0: in the record"
    assert path.read_bytes() == whole.read_bytes()
    assert measured(home, grid, path)[:2] == [
        "SCAN, seed 0: in the record",
        "BFAN, seed 0: in the record",
    ]
    assert path.read_bytes() == whole.read_bytes()


def test_another_annotation_is_measured_again(home: Path, grid: Grid, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "home")
    path, words = tmp_path / "attention.csv", tmp_path / "home/annotated/test_words.json"
    measured(tmp_path / "home", grid, path)
    words.write_text(words.read_text().replace("people", "animals"))
    assert "in the record" not in measured(tmp_path / "home", grid, path)[0]
    found = attention.recorded(grid, "tiny", path=path)
    assert found["truth"].nunique() == 1
    assert "people" not in set(found["kind"])


def test_runs_that_stay_keep_their_annotation(home: Path, grid: Grid, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / "home")
    path, words = tmp_path / "attention.csv", tmp_path / "home/annotated/test_words.json"
    measured(tmp_path / "home", grid, path)
    whole = path.read_bytes()
    words.write_text(words.read_text().replace("people", "animals"))
    without = tmp_path / "without.yml"
    without.write_text("\n".join(line for line in GRID.splitlines() if "BFAN" not in line))
    with pytest.raises(InputError, match="annotated were measured on another .*: 1"):
        measured(tmp_path / "home", grids.load(without), path)
    assert path.read_bytes() == whole


def test_the_command(home: Path, lines: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "attention.csv"
    places = ["--size", "tiny", "--data", str(home), "--root", str(home / "runs")]
    grid = str(home / "three.yml")
    assert main(["results", "attention", grid, *places, "--record", str(path)]) == 0
    assert path.read_bytes() == (home / "attention.csv").read_bytes()


def test_what_cannot_be_recorded(home: Path, grid: Grid, tmp_path: Path) -> None:
    record = tmp_path / "attention.csv"
    with pytest.raises(InputError, match="no run of this grid is finished"):
        list(attention_runs.measure(grid, "tiny", data=home, root=tmp_path, record=record))
    shutil.copytree(home, tmp_path / "home")
    for path in (tmp_path / "home/runs").glob("*/*/*/environment.json"):
        write_json(path, read_json(path) | {"commit": "c0082a58b567+"})
    with pytest.raises(InputError, match="in no commit cannot be recorded"):
        measured(tmp_path / "home", grid, record)
    shutil.rmtree(tmp_path / "home")
    shutil.copytree(home, tmp_path / "home")
    for name in ("words", "objects"):
        (tmp_path / f"home/annotated/test_{name}.json").unlink()
    with pytest.raises(InputError, match="no words with boxes") as caught:
        measured(tmp_path / "home", grid, record)
    assert "itm data entities" in str(caught.value)
    assert not record.exists()


def test_a_damaged_run_is_left_out_and_the_others_are_measured(
    home: Path, grid: Grid, tmp_path: Path
) -> None:
    root, record = shutil.copytree(home / "runs", tmp_path / "runs"), tmp_path / "attention.csv"
    (weights,) = root.glob("*/bfan*/*/best.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    said: list[str] = []
    options = {"data": home, "root": root, "record": record}
    with pytest.raises(InputError, match="damaged runs were left out; all others are recorded"):
        said.extend(attention_runs.measure(grid, "tiny", **options))
    assert [line.split(":")[0] for line in said] == [f"{row}, seed 0" for row in TRAINED_ROWS]
    assert said[1].startswith(f"BFAN, seed 0: damaged, {weights}: not the file")
    assert "pointing" in said[0]
    assert len(attention.measured_runs(record)) == 1
    # a damaged run keeps its lines, which can no longer be read beside those of another annotation
    measured(home, grid, both := tmp_path / "both.csv")
    other = shutil.copytree(home, tmp_path / "home")
    words = other / "annotated/test_words.json"
    words.write_text(words.read_text().replace("people", "animals"))
    with pytest.raises(InputError, match="annotated were measured on another .*: 1"):
        list(attention_runs.measure(grid, "tiny", data=other, root=root, record=both))
    (weights.parent / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"left out; .*found .*config\.json: "):
        list(attention_runs.measure(grid, "tiny", **options))


def test_a_damaged_run_is_not_exported_and_the_others_are(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(home / "runs", tmp_path / "runs")
    (scores,) = root.glob("*/bfan*/*/test_scores.npy")
    scores.write_bytes(scores.read_bytes()[:-4])
    words = [str(home / "three.yml"), "--size", "tiny", "--data", str(home), "--root", str(root)]
    record = tmp_path / "record" / "runs.csv"
    assert main(["results", "export", *words, "--record", str(record)]) == 2
    out, error = capsys.readouterr()
    assert "three: 2 results of 8 runs" in out
    assert f"damaged, left out: {scores}: not the file" in out
    assert "damaged runs were left out" in error
    assert len(pd.read_csv(record)) == 2
    (curve,) = root.glob("*/scan*/*/curve.csv")
    curve.write_text("")
    assert main(["results", "export", *words, "--record", str(tmp_path / "x" / "runs.csv")]) == 2
    assert f"damaged, left out: {curve}: not readable as CSV" in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "x" / "runs.csv")) == 1
    before = record.read_bytes()
    record.with_name("curves.csv").write_text("x\n")
    assert main(["results", "export", *words, "--record", str(record)]) == 2
    assert "curves.csv, row 1: wrong columns" in capsys.readouterr().err
    assert record.read_bytes() == before
    assert main(["grid", str(home / "three.yml"), *words[1:], "--dry-run"]) == 0
    (scores.parent / "metrics.json").write_text("{}")
    assert main(["grid", str(home / "three.yml"), *words[1:], "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "damaged       BFAN, seed 0" in out
    assert "1 damaged" in out
