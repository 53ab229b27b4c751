"""The published tables: complete, within range, each number with its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from itm_book.records import grids, results
from itm_book.records.record_files import seal
from itm_book.records.results import Result, write
from itm_book.tables import published, report
from itm_book.tables.notes import note_of
from itm_book.tables.report import MARK
from itm_book.tables.run_links import run_link
from itm_core.errors import InputError
from itm_core.evaluation import retrieval


def test_every_table_passes_its_checks() -> None:
    assert set(published.load()["file"]) == {"anchors", "ccr", "chan", "hosts", "rcar"}


def test_known_misprints_are_still_there() -> None:
    """A misprint that was put right must leave the list."""
    table = published.load()
    off = (table[published.RECALLS].sum(axis=1, skipna=False) - table["rsum"]).abs().round(3)
    wrong = table[off > published.TOLERANCE]
    found = {(r.file, r.method, r.dataset, r.split) for r in wrong.itertuples()}
    assert found == set(published.MISPRINTS)
    assert off.nlargest(1).iloc[0] == pytest.approx(0.6)  # USER; the others could be rounding


def test_scan_is_as_in_its_paper() -> None:
    table = published.readable(published.rows(method="SCAN", file="hosts", dataset="Flickr30K"))
    row = table[table["variant"] == "i-t AVG"].iloc[0]
    assert (row["i2t R@1"], row["t2i R@1"], row["rSum"]) == (67.9, 43.9, 452.2)
    sources = [note_of(cell).text for cell in table["i2t R@1"]]
    assert min(map(len, sources)) > 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"i2t_r1": 120.0}, "0..100"),
        ({"source": ""}, "without a source"),
        ({"rsum": 1.0}, "parts"),
        (dict.fromkeys(published.RECALLS, float("nan")), "without a recall"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    table = pd.read_csv(published.FOLDER / "hosts.csv").head(2).astype({"source": object})
    for column, value in change.items():
        table.loc[1, column] = value
    table.to_csv(tmp_path / "hosts.csv", index=False)
    with pytest.raises(InputError, match=f"hosts.csv, row 3: .*{message}"):
        published.load(tmp_path)


def test_another_table_is_refused(tmp_path: Path) -> None:
    table = pd.read_csv(published.FOLDER / "hosts.csv").head(2)
    table.drop(columns="source").to_csv(tmp_path / "hosts.csv", index=False)
    with pytest.raises(InputError, match="wrong columns"):
        published.load(tmp_path)
    table.astype({"i2t_r5": object}).replace({"i2t_r5": {85.4: "85,4"}}).to_csv(
        tmp_path / "hosts.csv", index=False
    )
    with pytest.raises(InputError, match="i2t_r5 holds something that is no number"):
        published.load(tmp_path)


def test_rows_are_chosen_by_method_and_dataset() -> None:
    table = published.rows(method="CHAN", dataset="Flickr30K")
    assert set(table["method"]) == {"CHAN"}
    assert set(table["dataset"]) == {"Flickr30K"}
    assert published.rows(dataset="Scenes").empty


def test_no_tables_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="are missing"):
        published.load(tmp_path)


def ours(seed: int = 0, dataset: str = "f30k_precomp", images: int = 1000) -> Result:
    """Return a result in which a right answer has one of the first ranks."""
    draw = np.random.default_rng(seed)
    ranks = retrieval.Ranks(draw.integers(0, 12, images), draw.integers(0, 12, 5 * images))
    near = retrieval.Ranks(*(np.minimum(r, 10) for r in (ranks.i2t, ranks.t2i)))
    hits = retrieval.hits_of(near).mean(0)
    return Result(
        dataset=dataset,
        recipe="chan-f30k",
        changes="",
        seed=seed,
        run=f"{dataset}/chan-f30k/{seed}-abc",
        ranks=near,
        metrics={**dict(zip(retrieval.NUMBERS, hits, strict=True)), "i2t_median": 5.0}
        | {"t2i_median": 5.0},
        where={"minutes": 1.0, "device": "cpu", "machine": "m", "torch": "2", "python": "3"}
        | {"commit": "c0082a58b567", "made": "2026-01-02"},
    )


def printed(result: Result, more: float = 0.0, *, rsum: bool = True) -> dict[str, Any]:
    """Return a published row with the numbers of a result, every recall higher by ``more``."""
    row: dict[str, Any] = {n: result.metrics[n] + more for n in published.RECALLS}
    total = result.metrics["rsum"] + 6 * more if rsum else float("nan")
    return row | {"dataset": "Flickr30K", "split": "1K test", "rsum": total}


@pytest.mark.parametrize("rsum", [True, False])
def test_a_published_number_in_our_interval_agrees(rsum: bool) -> None:
    group = [ours(seed) for seed in range(3)]
    assert published.status(printed(group[0], rsum=rsum), group) == "agrees"
    assert published.status(printed(group[0], 9.0, rsum=rsum), group) == "below"
    assert published.status(printed(group[0], -9.0, rsum=rsum), group) == "above"


def test_recalls_that_were_not_printed_are_not_compared() -> None:
    group = [ours(seed) for seed in range(3)]
    row = printed(group[0], rsum=False) | {"i2t_r10": float("nan"), "t2i_r10": float("nan")}
    assert published.status(row, group) == "agrees"


def test_a_published_number_must_lie_beyond_the_seeds_as_well() -> None:
    group = [ours(seed) for seed in range(3)]
    row = printed(group[0], 9.0)
    assert published.status(row, group) == "below"
    for change, result in zip((-30, 0, 30), group, strict=True):
        result.metrics["rsum"] += change  # type: ignore[index]
    assert published.status(row, group) == "agrees"


def test_a_published_number_must_lie_beyond_the_images_as_well() -> None:
    group = [ours(seed) for seed in range(3)]
    for result in group:
        result.metrics["rsum"] = 300 + 1e-3 * result.seed  # type: ignore[index]
    images = float(np.mean([result.hits[:, -1].mean() for result in group]))
    for result in group:
        result.metrics["rsum"] += images - 300  # type: ignore[index]
    assert published.status(printed(ours()) | {"rsum": images + 1.0}, group) == "agrees"
    assert published.status(printed(ours()) | {"rsum": images + 60.0}, group) == "below"


def test_recalls_are_corrected_for_their_number() -> None:
    """One of six recalls may differ at 5 % by chance; the same number alone would count."""
    group = [ours(seed) for seed in range(3)]
    for change, result in zip((-2, 0, 2), group, strict=True):  # a spread of 2
        result.metrics["i2t_r1"] = 20.0 + change  # type: ignore[index]
    names = published.RECALLS
    row: dict[str, Any] = {n: float(np.mean([r.metrics[n] for r in group])) for n in names}
    row |= {"dataset": "Flickr30K", "split": "1K test", "rsum": float("nan")}
    row["i2t_r1"] += 6.5 * 2 * np.sqrt(1 + 1 / 3)  # t = 6.5 with two degrees of freedom: p = 0.023
    assert published.status(row, group) == "agrees"
    alone = {n: float("nan") for n in names} | {"i2t_r1": row["i2t_r1"]}
    assert published.status(row | alone, group) == "below"


def test_one_seed_decides_nothing() -> None:
    assert published.status(printed(ours(), 50.0), [ours()]) == "not testable"


def test_other_data_is_not_a_run_of_this_row() -> None:
    row = printed(ours())
    assert published.status(row, []) == published.NOT_RUN
    for name in ("scenes-small", "flickr8k", "flickr8k-2500"):  # Flickr8k has 1,000 images, too
        assert published.status(row, [ours(dataset=name)]) == published.NOT_RUN
    assert published.status(row, [ours(images=250)]) == published.NOT_RUN
    folds = row | {"split": "1K test (5-fold mean)"}
    assert published.status(folds, [ours()]) == published.NOT_RUN


def test_published_rows_stand_beside_the_record(tmp_path: Path) -> None:
    grid = grids.load("chan")
    rows = published.rows(file="chan", method="CHAN", dataset="Flickr30K")
    text = {("CHAN", "BUTD regions + BiGRU"): "CHAN"}
    record = tmp_path / "runs.csv"
    without = published.with_ours(rows, grid, text, record=record)
    assert "here" not in without  # no row was run
    write([ours(seed) for seed in range(3)], record)
    shown = published.with_ours(rows, grid, text, record=record)
    assert "method" not in shown
    assert len(shown) == len(published.sources(rows))
    bigru = shown["built on"].str.contains("BiGRU")
    assert set(shown.loc[bigru, "here"]) == {"below"}
    assert set(shown.loc[~bigru, "here"]) == {published.NOT_RUN}
    assert [note_of(cell) for cell in shown.loc[~bigru, "here"]] == [None] * (~bigru).sum()
    notes = [note_of(cell) for cell in shown.loc[bigru, "here"]]
    assert {(note.link, note.uncommitted) for note in notes} == {(run_link(ours().run), False)}
    record.write_text(record.read_text().replace("c0082a58b567", "c0082a58b567+"))
    with pytest.raises(InputError, match="not the file that was recorded"):
        published.with_ours(rows, grid, text, record=record)
    seal(tmp_path, {record.name: results.FORM})
    shown = published.with_ours(rows, grid, text, record=record)
    assert all(note_of(cell).uncommitted for cell in shown.loc[bigru, "here"])
    assert MARK in report.html(shown, "").data
    part = published.with_ours(rows, grid, {("BiGRU",): "CHAN"}, record=record)
    assert "here" not in part  # "BiGRU" is no whole text of a row


def test_rows_are_found_by_name_in_the_order_of_the_names() -> None:
    table = published.rows(file="hosts", dataset="Flickr30K")
    names = [("SGRAF", "SAF"), ("SCAN", "i-t AVG"), ("VSRN", "single")]
    found = published.named(table, names)
    assert list(zip(found["method"], found["direction_or_module"], strict=True)) == names
    assert found["paper"][0] == "SGRAF (AAAI 2021)"  # the paper's row before the README's
    assert found["table"][0] == "Table 1"
    with pytest.raises(InputError, match="no published row has this name; found SGRAF, XYZ"):
        published.named(table, [("SGRAF", "XYZ")])
