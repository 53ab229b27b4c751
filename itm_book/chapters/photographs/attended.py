"""What the page shows of attention against people's boxes, or a sentence where nothing is recorded.

Page: "Real photographs".
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown
from matplotlib.figure import Figure

from itm_book.chapters.photographs.display import NO_GAIN, Record, not_recorded
from itm_book.figures import people_boxes as box_charts
from itm_book.tables import people_boxes, people_boxes_gains, report, verdicts
from itm_book.tables.comparison import gain_text, hard_and_soft

NO_BOXES = "no attention against people's boxes"
NO_REGIONS = "no attention of regions to words"
NO_PASSES = "no attention with several passes"
HEADLINES = (  # of which curves are drawn: a figure of all rows could not be read
    "SCAN t2i",
    "SCAN t2i + CCR + CCS",
    "base t2i",
    "RCAR t2i",
    "soft coding",
    "CHAN",
)


def _no_words(record: Record, direction: str = "t2i") -> bool:
    """Return whether no recorded row attends in a direction; words are queries in most tables."""
    return record.boxes.empty or people_boxes.chosen(record.boxes, direction=direction).empty


def pointing(record: Record) -> HTML | Markdown:
    """Return how often the heaviest region is a relevant one, with its reference levels."""
    if _no_words(record):
        return not_recorded(NO_BOXES)
    shown = people_boxes.readable(people_boxes.summary(record.boxes))
    return report.html(shown, f"Pointing (percent): {people_boxes.status(record.boxes)}")


def measures(record: Record) -> HTML | Markdown:
    """Return all measures of attention of every row."""
    if _no_words(record):
        return not_recorded(NO_BOXES)
    return report.html(
        people_boxes.all_measures(record.boxes),
        "All measures (percent); in brackets the same methods untrained: "
        f"{people_boxes.status(record.boxes)}",
    )


def of_regions(record: Record) -> HTML | Markdown:
    """Return pointing of regions at words, of every row with regions as queries."""
    if _no_words(record, "i2t"):
        return not_recorded(NO_REGIONS)
    table = people_boxes.summary(record.boxes, direction="i2t")
    shown = people_boxes.readable(table, query="regions", key="word")
    status = people_boxes.status(record.boxes, direction="i2t")
    return report.html(shown, f"Pointing of regions at words (percent): {status}")


def at_ious(record: Record, measure: str = "pointing") -> HTML | Markdown:
    """Return a measure of every row where a region is relevant from another IoU on."""
    if _no_words(record):
        return not_recorded(NO_BOXES)
    first, title = people_boxes.chosen(record.boxes).iloc[0], people_boxes.TITLES[measure]
    title = title[0].upper() + title[1:]
    return report.html(
        people_boxes.by_iou(record.boxes, measure),
        f"{title} (percent) by the least IoU of a relevant region; in "
        f"brackets by chance: {first['dataset']}, test split; recorded, annotation "
        f"{first['truth'][:8]}",
    )


def curves(record: Record) -> Figure | Markdown:
    """Return precision, recall and F1 of the headline rows against the threshold on weights."""
    if _no_words(record):
        return not_recorded(NO_BOXES)
    attending = set(people_boxes.chosen(record.boxes)["name"])
    headline = [name for name in HEADLINES if name in attending]
    return box_charts.curves(record.boxes, headline or None)


def passes(record: Record) -> HTML | Markdown:
    """Return what the last pass of attention gains over the first, of rows with a regulator."""
    table = pd.DataFrame()
    if not _no_words(record):
        table = people_boxes_gains.over_first_pass(record.boxes, "f1")
    if table.empty:
        return not_recorded(NO_PASSES)
    return report.html(
        people_boxes_gains.readable_gains(table, "f1"),
        "F1 of attention, the last pass over the first of the same model: "
        f"{people_boxes.status(record.boxes)}. {verdicts.chance_note(table)}",
    )


def by_type(record: Record) -> Figure | Markdown:
    """Return pointing of every row for each type of phrase."""
    if _no_words(record):
        return not_recorded(NO_BOXES)
    return box_charts.by_type(
        people_boxes.by_type(record.boxes),
        title="pointing, by what the phrase names",
        unit="percent of the words with a relevant region",
    )


def gains(record: Record) -> HTML | Markdown:
    """Return the gain of every row over its host in F1 of attention.

    Of hard over soft attention the caption has the gain in pointing instead.
    """
    table = pd.DataFrame() if _no_words(record) else people_boxes_gains.gains(record.boxes, "f1")
    if table.empty:
        return not_recorded(NO_BOXES if record.boxes.empty else NO_GAIN)
    pairs = zip(table["name"], table["host"], strict=True)
    unlike = np.array([hard_and_soft(record.grid, *pair) for pair in pairs])
    shown = table[~unlike]
    return report.html(
        people_boxes_gains.readable_gains(shown, "f1"),
        f"F1 of attention over the host: {people_boxes.status(record.boxes)}. "
        f"{_left_out(record, list(table.loc[unlike, 'name']))}{verdicts.chance_note(shown)}",
    )


def _left_out(record: Record, names: list[str]) -> str:
    """Return why rows with hard attention have no gain in F1, with that in pointing; or nothing."""
    if not names:
        return ""
    table = people_boxes_gains.gains(record.boxes)
    by_pointing = "; ".join(
        f"{row['name']} over {row['host']} {gain_text(row)}, {row['effect']}"
        for row in table[table["name"].isin(names)].to_dict("records")
    )
    return (
        "Left out, since hard attention has one region a word and so a bounded F1; "
        f"by pointing, in points: {by_pointing}. "
    )
