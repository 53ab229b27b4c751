"""The page can be built with any part of the record: nothing, one seed, some rows, all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd
import pytest
from IPython.display import HTML, Markdown
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from itm_book.chapters.photographs import attended, display, tables
from itm_book.chapters.photographs.display import Record
from itm_book.records import grids
from itm_book.records.results import Results
from itm_book.tables import claims, people_boxes_gains
from tests.boxes_of_rows import measured_boxes
from tests.itm_book.chapters.photographs.test_progress import curve
from tests.itm_book.tables.test_comparison import three

GRID = grids.load(claims.GRID)
NAMES = ["base t2i", "RCAR t2i", "CHAN", "soft coding", "SCAN t2i", "SCAN i2t", "SAF", "SGR"]
FULL: Results = {
    name: three(1.5 + 0.1 * k, noise=10 * k)
    for k, name in enumerate([*NAMES, "SCAN, both directions", "SGRAF"])
}
RECORDS: Mapping[str, Results] = {
    "nothing": {},
    "one seed": {name: group[:1] for name, group in FULL.items()},
    "one row": {"SCAN t2i": FULL["SCAN t2i"][:1]},
    "no common seed": {"base t2i": FULL["base t2i"][:1], "RCAR t2i": FULL["RCAR t2i"][1:]},
    "all": FULL,
}
SHOWN: Mapping[str, Callable[[Record], object]] = {
    "budget": display.budget,
    "missing": display.missing,
    "learning curves": lambda record: display.learning_curves(record, ("SCAN t2i",)),
    "convergence": display.convergence,
    "recalls": display.recalls,
    "intervals": display.intervals,
    "best": display.best,
    "gains": display.gains,
    "gain chart": display.gain_chart,
    "spread": display.spread,
    "order table": display.order_table,
    "order chart": display.order_chart,
    "published order": lambda record: display.order_chart(record, display.PUBLISHED),
    "pointing": attended.pointing,
    "attention": attended.measures,
    "attention at IoUs": attended.at_ious,
    "F1 at IoUs": lambda record: attended.at_ious(record, "f1"),
    "curves": attended.curves,
    "regions": attended.of_regions,
    "passes": attended.passes,
    "types": attended.by_type,
    "gains of attention": attended.gains,
    "people": display.people,
    "people chart": display.people_chart,
    "people and recall": display.people_and_recall,
}
WORDS = measured_boxes({"base t2i": ("SCAN", ""), "RCAR t2i": ("RCAR", "base t2i")})
BOXES = pd.concat([WORDS, WORDS.assign(direction="i2t")], ignore_index=True)
ALWAYS = {"budget", "missing", "spread", "order table"}  # whatever is recorded


def judgements(rows: Results) -> pd.DataFrame:
    """Return agreement with people of some rows, as `tables.recorded` does."""
    lines = [
        {"name": name, "run": result.run, "seed": result.seed, "group": GRID.group(name)}
        for name, group in rows.items()
        for result in group
    ]
    if lines:
        lines.append({"name": tables.PEOPLE, "run": "", "seed": 0, "group": ""})
    measured = [line | {"measure": m, "value": 0.3} for line in lines for m in tables.MEASURES]
    table = pd.DataFrame(measured, columns=["name", "run", "seed", "group", "measure", "value"])
    common = {"host": "", "over": "", "against": "", "low": 0.2, "high": 0.4}
    split = {"pairs": 5664, "images": 1000, "dataset": "fake", "annotations": "Expert.txt"}
    return table.assign(**common, **split)


def record(rows: Results) -> Record:
    return Record(
        grid=GRID,
        size="record",
        rows=rows,
        scenes={name: three(2.0 - 0.1 * k, noise=10 * k) for k, name in enumerate(NAMES)},
        curves={name: curve(1, 2, 3, 4) for name in rows if name in GRID.rows},
        judged=judgements(rows),
        boxes=BOXES if rows is FULL else pd.DataFrame(),
    )


@pytest.mark.parametrize("name", RECORDS)
def test_every_part_of_the_page_can_be_shown(name: str) -> None:
    of_page = record(RECORDS[name])
    for part, show in SHOWN.items():
        shown = show(of_page)
        assert isinstance(shown, HTML | Markdown | Figure), part
        none = isinstance(shown, Markdown) and "Nothing recorded yet" in str(shown.data)
        if part in ALWAYS:
            assert not none, part
        elif name == "nothing":
            assert none, part
        elif name == "all":
            assert not none, part
    plt.close("all")


def test_rows_without_a_common_seed_have_no_gain() -> None:
    assert "no row together with its host" in display.gains(record(RECORDS["no common seed"])).data


def test_one_seed_is_not_testable_and_several_are_tested() -> None:
    one = display.gains(record(RECORDS["one seed"])).data
    assert "not testable" in one
    assert "RCAR t2i" in display.gains(record(FULL)).data
    assert "not testable" not in display.gains(record(FULL)).data


def test_ensembles_are_counted_apart_from_gains_over_a_host() -> None:
    text = display.finding(record(FULL)).data
    hosted, averaged = text.split("; of ensembles, counted apart, ")
    hosts = [GRID.host(name) for name in FULL if name in GRID.rows]
    assert f"of {sum(host in FULL for host in hosts)} gains over a host" in hosted
    assert f"of {len(set(FULL) & set(display.AVERAGED))} gains over one model" in averaged
    alone = {name: FULL[name] for name in ("SGR", "SGRAF")}
    assert "Finding:</strong> of ensembles, counted apart, the only" in (
        display.finding(record(alone)).data
    )


def test_hard_over_soft_attention_has_a_gain_in_pointing_and_none_in_f1() -> None:
    hard = measured_boxes({"CHAN": ("CHAN", "soft coding"), "soft coding": ("RCAR", "")})
    for boxes, rows in ((hard, []), (pd.concat([BOXES, hard], ignore_index=True), ["RCAR t2i"])):
        shown = attended.gains(replace(record(FULL), boxes=boxes)).data
        gained = people_boxes_gains.gains(boxes).set_index("name").loc["CHAN", "gain"]
        assert f"by pointing, in points: CHAN over soft coding {gained:+.1f} [" in shown
        assert [name for name in ("CHAN", "RCAR t2i") if f"<td>{name}</td>" in shown] == rows


def test_the_spread_is_that_of_photographs_once_they_have_seeds() -> None:
    group = [replace(result, dataset="drawn") for result in three(1.0)]
    scenes = {"base t2i": group, "RCAR t2i": group}
    for rows, dataset in ((FULL, "fake"), (RECORDS["one seed"], "drawn"), ({}, "drawn")):
        shown = display.spread(replace(record(rows), scenes=scenes)).data
        assert f"in rSum: {dataset}, test split" in shown


def test_the_three_orders_are_compared_on_the_rows_that_both_have() -> None:
    table = display.order_table(record(FULL)).data
    assert "Flickr30K, published" in table
    common = len(set(NAMES) & set(GRID.rows))
    published = len(set(NAMES) - {"base t2i", "soft coding"})  # not published alone
    for count in (common, published):
        assert f">{count}</td>" in table


def test_the_record_that_ships_can_be_loaded() -> None:
    of_page = display.load()
    assert of_page.reference == "base t2i"
    assert {row.dataset for group in of_page.scenes.values() for row in group} == {"scenes-small"}
    assert set(of_page.rows) <= {*GRID.rows, *GRID.ensembles}
