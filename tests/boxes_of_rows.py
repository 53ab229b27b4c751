"""Lines of attention against people's boxes under names of other rows."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from itm_book.records import attention
from itm_book.records.attention import UNIFORM
from tests.attention_lines import GRID, write_record


def measured_boxes(rows: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Return drawn lines of some rows: each has those of a row of `GRID`, and a host."""
    with tempfile.TemporaryDirectory() as folder:
        write_record(Path(folder, "attention.csv"))
        lines = attention.recorded(GRID, "tiny", path=Path(folder, "attention.csv"))
    parts = [lines[lines["name"] == UNIFORM]]
    for name, (row, host) in rows.items():
        parts.append(lines[lines["name"] == row].assign(name=name, host=host))
    return pd.concat(parts, ignore_index=True)
