"""Differences in attention against people's boxes, tested as all differences of this book.

Over images by a paired bootstrap (an image with all of its queries), over seeds by Student's t;
the p value is the larger of the two. Numbers are points, hundredths of a measure in 0..1. The
input are the lines of `records.attention.recorded`.

Page: "Real photographs"; "What attention metrics can and cannot say".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from itm_book.records.attention import MEASURES, POINTING
from itm_book.tables import labels
from itm_book.tables.comparison import (
    gain_text,
    seed_columns,
    test_columns,
    tests_behind_switch,
)
from itm_book.tables.people_boxes import TITLES, ResampledImages, chosen
from itm_book.tables.run_links import linked
from itm_core.evaluation import statistics
from itm_core.evaluation.attention_queries import FIRST, LAST
from itm_core.settings import one_of


def gains(
    lines: pd.DataFrame,
    measure: str = POINTING,
    *,
    over: Mapping[str, str] | None = None,
    **where: Any,
) -> pd.DataFrame:
    """Return the gain of every row over its host in a measure, on the seeds that both have.

    Columns as those of `comparison.gains`, so that `verdicts.claim` and the figure of gains take
    the table; ``gain`` is in points.

    Args:
        over: maps rows to others than the grid's hosts.
        where: direction, iou and kind, as in `people_boxes.chosen`.

    Raises `InputError` where the record has no images of the measure.
    """
    trained = chosen(lines, **where)
    pairs = []
    for name, group in trained.groupby("name", sort=False):
        host = group["host"].iloc[0] if over is None else over.get(str(name), "")
        if host and host != name:
            pairs.append((str(name), host, group, trained[trained["name"] == host]))
    return _compared(lines, measure, pairs, where)


def over_first_pass(lines: pd.DataFrame, measure: str = POINTING, **where: Any) -> pd.DataFrame:
    """Return the gain of the last pass of attention over the first, of methods with several.

    Columns and arguments as for `gains`.
    """
    first = chosen(lines, passed=FIRST, **where)
    last = chosen(lines, passed=LAST, **where)
    pairs = [
        (str(name), f"{name}, first pass", last[last["name"] == name], group)
        for name, group in first.groupby("name", sort=False)
    ]
    return _compared(lines, measure, pairs, where)


Pair = tuple[str, str, pd.DataFrame, pd.DataFrame]  # row, host, and the lines of both


def _compared(
    lines: pd.DataFrame, measure: str, pairs: list[Pair], where: Mapping[str, Any]
) -> pd.DataFrame:
    one_of("measure", measure, MEASURES)
    return pd.DataFrame(list(_rows(lines, measure, pairs, where)))


def _rows(
    lines: pd.DataFrame, measure: str, pairs: list[Pair], where: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    if not pairs:
        return
    images = ResampledImages(lines, **where)
    for name, host, row, other in pairs:
        seeds = [seed for seed in row["seed"] if seed in set(other["seed"])]
        if not seeds:
            continue
        row, other = (side.set_index("seed").loc[seeds] for side in (row, other))
        differences = 100 * (row[measure].to_numpy() - other[measure].to_numpy())
        gain = float(differences.mean())
        by_image = 100 * (images.means(row, measure) - images.means(other, measure))
        resampled = images.resampled(by_image, gain)
        low, high = statistics.interval(resampled)
        over_seeds = statistics.over_seeds(differences)
        p_images = float(statistics.image_p(resampled))
        p = labels.combined_p(p_images, over_seeds.p)
        yield {
            "name": name,
            "host": host,
            "group": row["group"].iloc[0],
            "gain": gain,
            "low": float(low),
            "high": float(high),
            **seed_columns(gain, over_seeds, float(low), float(high)),
            "p_images": p_images,
            "p_seeds": over_seeds.p,
            "p": p,
            "effect": labels.effect(gain, p),
            "runs": [run for run in (*row["run"], *other["run"]) if run],
        }


def readable_gains(table: pd.DataFrame, measure: str = POINTING) -> pd.DataFrame:
    """Return a table of gains as text, `comparison.test_columns` behind the table's switch."""
    title = f"gain in {TITLES[measure]} (points)"
    rows = [
        {"method": row["name"], "effect": row["effect"], title: gain_text(row)} | test_columns(row)
        for row in table.to_dict("records")
    ]
    shown = linked(pd.DataFrame(rows), {title: table.get("runs", ())})
    return tests_behind_switch(shown)
