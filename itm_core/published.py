"""The papers' numbers, with the source of each."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from itm_core.errors import InputError

FOLDER = Path(__file__).resolve().parents[1] / "data" / "published"
RECALLS = ["i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10"]
ROUNDING = 0.16  # six recalls printed to a tenth may miss their sum's print by this much
# rows (file, method, dataset) whose printed rSum is not the sum of the printed recalls: the
# misprint is the source's, and the row is kept as printed
MISPRINTS = {
    ("anchors", "ESL-H", "MSCOCO"),
    ("anchors", "USER", "MSCOCO"),
    ("anchors", "AAHR", "MSCOCO"),
    ("anchors", "HREM + VSD (second variant, dagger)", "MSCOCO"),
}


def load(folder: Path = FOLDER) -> pd.DataFrame:
    """Return every published number: the columns of the tables, and ``file``.

    Recalls are percent. Raises `InputError` when a table is missing, a recall lies outside
    0..100, a number has no source, or rSum is not the sum of its parts and no known misprint.
    """
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise InputError(
            "the published numbers are not here",
            file=folder,
            remedy="install from a clone of the repository (pip install -e .)",
        )
    return pd.concat([_table(path) for path in paths], ignore_index=True)


def _table(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path).assign(file=path.stem)
    for row, values in enumerate(table.to_dict("records"), 2):
        recalls = [values[name] for name in RECALLS]
        if any(not 0 <= r <= 100 for r in recalls if r == r):
            raise InputError("a recall outside 0..100", file=path, row=row, found=recalls)
        if not isinstance(values["source"], str) or not values["source"].strip():
            raise InputError("a number without a source", file=path, row=row)
        known = (path.stem, values["method"], values["dataset"]) in MISPRINTS
        gap = abs(sum(recalls) - values["rsum"])  # NaN where a number was not printed
        if gap > ROUNDING and not known:
            raise InputError(
                "rSum is not the sum of its parts",
                file=path,
                row=row,
                expected=round(sum(recalls), 1),
                found=values["rsum"],
            )
    return table


def rows(
    *, method: str | None = None, dataset: str | None = None, file: str | None = None
) -> pd.DataFrame:
    """Return the published rows of a method, a dataset or a file, in the order of the file."""
    table = load()
    for column, wanted in (("method", method), ("dataset", dataset), ("file", file)):
        if wanted is not None:
            table = table[table[column] == wanted]
    return table.reset_index(drop=True)


def scan_table() -> pd.DataFrame:
    """Return SCAN's own table: dataset, split, variant, six recalls, rSum, source."""
    own = rows(method="SCAN", file="hosts")
    own = own[own["paper"].str.startswith("SCAN")]
    columns = ["dataset", "split", "direction_or_module", *RECALLS, "rsum", "table", "source"]
    return own[columns].rename(columns={"direction_or_module": "variant"}).reset_index(drop=True)
