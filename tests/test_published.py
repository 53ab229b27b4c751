"""The published tables: complete, within range, each number with its source."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from itm_core import published
from itm_core.errors import InputError


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
    table = published.scan_table()
    row = table[(table["dataset"] == "Flickr30K") & (table["variant"] == "i-t AVG")].iloc[0]
    assert (row["i2t_r1"], row["t2i_r1"], row["rsum"]) == (67.9, 43.9, 452.2)
    assert table["source"].str.len().min() > 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"i2t_r1": 120.0}, "0..100"),
        ({"source": ""}, "without a source"),
        ({"rsum": 1.0}, "parts"),
        (dict.fromkeys(published.RECALLS, float("nan")), "without a recall"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    table = pd.read_csv(published.FOLDER / "hosts.csv").head(2).astype({"source": object})
    for column, value in change.items():
        table.loc[1, column] = value
    table.to_csv(tmp_path / "hosts.csv", index=False)
    with pytest.raises(InputError, match=f"hosts.csv, row 3: .*{said}"):
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
    found = published.rows(method="CHAN", dataset="Flickr30K")
    assert set(found["method"]) == {"CHAN"}
    assert set(found["dataset"]) == {"Flickr30K"}
    assert published.rows(dataset="Scenes").empty


def test_no_tables_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not here"):
        published.load(tmp_path)
