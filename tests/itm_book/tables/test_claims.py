"""Claims on two datasets: both verdicts follow one rule."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from itm_book.records import grids
from itm_book.records.results import Result
from itm_book.tables import (
    attention_table,
    claim_list,
    claims,
    comparison,
    labels,
    people_boxes_gains,
    verdicts,
)
from itm_book.tables.claims import PHOTOGRAPHS, SCENES, Verdicts, World
from itm_book.tables.verdicts import Judgement
from tests.boxes_of_rows import measured_boxes
from tests.itm_book.tables.test_comparison import three

Rows = dict[str, list[Result]]
REGULATED: Rows = {"base t2i": three(1.5), "RCAR t2i": three(2.5), "base i2t": three(1.5)}
LOST: Rows = {"base t2i": three(1.5), "RCAR t2i": three(0.7)}


def world(name: str, rows: Rows) -> World:
    return World(name=name, rows=rows, boxes=pd.DataFrame() if name == PHOTOGRAPHS else None)


def both(scenes: Rows, photographs: Rows) -> tuple[World, World]:
    return world(SCENES, scenes), world(PHOTOGRAPHS, photographs)


def verdict(paper: str, number: int, *worlds: World) -> Verdicts:
    rows = claims.judged(paper, worlds)
    return next(row for row in rows if row.claim.number == number)


def test_both_verdicts_are_those_of_the_rule() -> None:
    row = verdict("RCAR", 3, *both(REGULATED, LOST))
    gained = comparison.gains(REGULATED, grids.load(claims.GRID))
    only = verdicts.judge(gained[gained["name"] == "RCAR t2i"], ["RCAR i2t over base i2t"])
    assert row.on[SCENES] == only
    assert row.on[SCENES].label == "holds so far, 1 of 2 rows, 1 not run here"
    assert row.on[PHOTOGRAPHS].verdict == labels.AGAINST
    assert row.differ
    assert not verdict("RCAR", 3, *both(REGULATED, REGULATED)).differ


def test_one_host_of_several_and_one_direction_of_two_hold_so_far() -> None:
    hosts: Rows = {"BFAN": three(1.0), "BFAN + RCR": three(2.5)}
    row = verdict("RCAR", 6, world(SCENES, hosts))
    assert row.on[SCENES].label == "holds so far, 1 of 4 rows, 3 not run here"
    directions: Rows = {"RCAR t2i": three(1.0), "RCAR, both directions": three(2.5)}
    row = verdict("RCAR", 5, world(SCENES, directions))
    assert row.on[SCENES].label == "holds so far, 1 of 2 rows, 1 not run here"
    of_both = verdict("RCAR", 5, world(SCENES, directions | {"RCAR i2t": three(1.0)}))
    assert of_both.on[SCENES].label == "holds"


def test_one_seed_and_no_run_cannot_differ_from_anything() -> None:
    one = {name: group[:1] for name, group in LOST.items()}
    for photographs, label in (
        (one, "not testable (one seed), 1 row not run here"),
        ({}, "not run here"),
    ):
        row = verdict("RCAR", 3, *both(REGULATED, photographs))
        assert row.on[PHOTOGRAPHS].label == label
        assert not row.differ
    assert (
        "not run here: RCAR t2i over base t2i · RCAR i2t over base i2t"
        in row.on[PHOTOGRAPHS].evidence
    )


def test_a_row_is_compared_with_two_others_under_one_claim() -> None:
    rows = REGULATED | {"RCR t2i": three(1.6), "RAR t2i": three(1.7)}
    evidence = verdict("RCAR", 4, world(SCENES, rows)).on[SCENES].evidence
    assert "RCAR t2i over RCR t2i: " in evidence
    assert "RCAR t2i over RAR t2i: " in evidence
    assert evidence.endswith("not run here: RCAR i2t over RCR i2t · RCAR i2t over RAR i2t")


def attending(precision: float) -> list[Result]:
    """Three seeds, alike but for a small step in attention precision."""
    return [
        replace(r, metrics={**r.metrics, "t2i_attention_precision": precision + 0.01 * r.seed})
        for r in three(2.0)
    ]


def test_attention_is_measured_by_objects_on_scenes_and_by_boxes_on_photographs() -> None:
    rows: Rows = {"CHAN": attending(0.6), "soft coding": attending(0.3)}
    row = verdict("CHAN", 3, *both(rows, rows))
    assert row.on[SCENES].label == "holds so far, 1 of 3 rows, 2 not run here, by precision"
    favoured = "precision at the mean weight, which favours hard attention: CHAN over soft coding: "
    assert row.on[SCENES].evidence.startswith(favoured)
    gained = attention_table.gains(rows, grids.load(claims.GRID))
    assert gained["words_precision"].tolist() == pytest.approx([30.0])
    assert "CHAN over soft coding: +30.0" in row.on[SCENES].evidence
    assert row.on[PHOTOGRAPHS].verdict == labels.UNTESTABLE  # no box was measured
    assert row.on[PHOTOGRAPHS].label == f"{verdicts.NOT_MEASURED}, by pointing"
    assert row.on[PHOTOGRAPHS].evidence.startswith(
        f"pointing: {verdicts.NOT_MEASURED}: CHAN over soft coding"
    )


def test_on_photographs_the_verdict_is_that_of_peoples_boxes() -> None:
    rows: Rows = {"CHAN": attending(0.6), "soft coding": attending(0.3)}
    lines = measured_boxes({"CHAN": ("CHAN", "soft coding"), "soft coding": ("RCAR", "")})
    photographs = World(name=PHOTOGRAPHS, rows=rows, boxes=lines)
    row = verdict("CHAN", 3, world(SCENES, rows), photographs)
    gained = people_boxes_gains.gains(lines, "pointing")
    assert row.on[PHOTOGRAPHS].gains == tuple(gained["gain"])  # of pointing, not of precision
    assert row.on[PHOTOGRAPHS].gains != tuple(people_boxes_gains.gains(lines, "precision")["gain"])
    assert row.on[PHOTOGRAPHS].evidence.startswith("pointing: CHAN over soft coding: ")
    assert row.on[PHOTOGRAPHS].verdict == labels.AGAINST  # drawn around .45 and .7
    assert row.on[SCENES].verdict == labels.HOLDS
    assert not row.differ  # by two measures


def test_a_verdict_that_a_page_measures_is_that_on_scenes() -> None:
    timed = Judgement(verdict="holds", label="holds", evidence="a timing")
    rows = claims.judged("CHAN", both({}, {}), on_scenes={2: timed})
    assert rows[1].on[SCENES] is timed
    assert rows[1].on[PHOTOGRAPHS].verdict == labels.UNTESTABLE
    assert rows[0].on[SCENES].verdict == labels.UNTESTABLE


def test_a_table_has_a_row_for_each_claim_and_a_verdict_for_each_dataset() -> None:
    shown = claims.table(claims.judged("CCR and CCS", both({}, {})))
    assert list(shown)[:4] == ["", "claim", f"on {SCENES}", f"on {PHOTOGRAPHS}"]
    assert shown["claim"].tolist() == [c.text for c in claim_list.CLAIMS["CCR and CCS"]]
    for name in (SCENES, PHOTOGRAPHS):
        assert all(label.startswith("our reconstruction: ") for label in shown[f"on {name}"])
    assert shown.attrs["more"] == list(shown)[4:]
    noted = claims.table(claims.judged("RCAR", both({}, {})))
    assert (
        noted[f"evidence, {SCENES}"][0]
        == "not run here: RCR t2i over base t2i · RCR i2t over base i2t"
    )
    every = claims.table(claims.every_judged(both({}, {})))
    assert len(every) == sum(map(len, claim_list.CLAIMS.values()))
    assert list(dict.fromkeys(every["paper"])) == list(claim_list.CLAIMS)


def test_the_text_names_the_claims_that_differ() -> None:
    rows = claims.judged("RCAR", both(REGULATED, LOST))
    text = claims.differing(rows, "why.html").data
    part = "so far, 1 of 2 rows, 1 not run here"
    assert (
        "on 1 claim, on the rows that can be tested on both datasets:</p><ul><li>3: <em>holds</em> "
        "on Scenes, <em>against</em> on photographs (RCAR t2i over base t2i); on all rows "
        f"<em>holds {part}</em> on Scenes, <em>against {part}</em> on photographs</li></ul>"
    ) in text
    assert 'href="why.html"' in text
    every = claims.differing(claims.every_judged(both(REGULATED, LOST))).data
    assert "<li>RCAR 3: " in every
    alike = claims.differing(claims.judged("RCAR", both(REGULATED, REGULATED))).data
    assert "On no claim do the two datasets give two different verdicts" in alike
    alone = claims.differing(claims.judged("RCAR", both(REGULATED, {}))).data
    assert "On photographs no claim can be tested yet" in alone


def test_a_row_that_one_dataset_lacks_makes_no_difference() -> None:
    """On Scenes i2t is lost and t2i gains; photographs have t2i alone, which gains there too."""
    both_ways = REGULATED | {"base i2t": three(2.5), "RCAR i2t": three(1.5)}
    row = verdict("RCAR", 3, *both(both_ways, REGULATED))
    assert row.on[SCENES].verdict == labels.MIXED
    assert row.on[PHOTOGRAPHS].verdict == labels.HOLDS
    assert row.shared == ("RCAR t2i over base t2i",)
    assert {judged.label for judged in row.on_shared.values()} == {"holds"}
    assert not row.differ
    one = {name: group[:1] for name, group in REGULATED.items()}
    assert verdict("RCAR", 3, *both(both_ways, one)).shared == ()  # one seed is no test
    every = verdict("RCAR", 3, *both(both_ways, both_ways | {"RCAR i2t": three(3.5)}))
    assert every.differ
    assert every.on_shared == every.on
    text = claims.differing([every]).data
    assert "<em>mixed: helps RCAR t2i; hurts RCAR i2t</em> on Scenes" in text
    assert "on all rows" not in text


def test_the_record_of_scenes_has_the_rows_of_every_claim() -> None:
    scenes, photographs = claims.worlds()
    named = {row for of_paper in claim_list.CLAIMS.values() for c in of_paper for row, _ in c.pairs}
    assert named <= set(scenes.rows)
    for group in photographs.rows.values():
        assert {result.dataset for result in group} == {"flickr8k-regions"}
    assert claims.status((scenes, world(PHOTOGRAPHS, {}))).endswith(
        "; photographs: nothing recorded"
    )
    assert len(claims.table(claims.every_judged((scenes, photographs))))
