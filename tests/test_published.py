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
    wrong = table[(table[published.RECALLS].sum(axis=1) - table["rsum"]).abs() > published.ROUNDING]
    full = wrong[wrong[published.RECALLS].notna().all(axis=1)]
    assert {(r.file, r.method, r.dataset) for r in full.itertuples()} == published.MISPRINTS


def test_scan_is_as_in_its_paper() -> None:
    table = published.scan_table()
    row = table[(table["dataset"] == "Flickr30K") & (table["variant"] == "i-t AVG")].iloc[0]
    assert (row["i2t_r1"], row["t2i_r1"], row["rsum"]) == (67.9, 43.9, 452.2)
    assert table["source"].str.len().min() > 10


@pytest.mark.parametrize(
    ("change", "said"),
    [({"i2t_r1": 120.0}, "0..100"), ({"source": ""}, "without a source"), ({"rsum": 1.0}, "parts")],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, object], said: str) -> None:
    table = pd.read_csv(published.FOLDER / "hosts.csv").head(2).astype({"source": object})
    for column, value in change.items():
        table.loc[1, column] = value
    table.to_csv(tmp_path / "hosts.csv", index=False)
    with pytest.raises(InputError, match=f"hosts.csv, row 3: .*{said}"):
        published.load(tmp_path)


def test_no_tables_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not here"):
        published.load(tmp_path)
