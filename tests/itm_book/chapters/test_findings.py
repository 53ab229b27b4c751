"""What the page of findings says, against the records and against cases worked out by hand."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from IPython.display import HTML
from matplotlib.figure import Figure

from itm_book.chapters import findings
from itm_book.chapters.findings import Found
from itm_book.tables import claim_list, claims, sentences, verdicts
from itm_book.tables.claim_list import Claim
from itm_book.tables.claims import PHOTOGRAPHS, SCENES, Verdicts
from itm_book.tables.verdicts import Judgement


@pytest.fixture(scope="module")
def found() -> Found:
    return findings.load()


def text_of(html: str) -> str:
    """The text of a page, one blank between words."""
    return " ".join(re.sub(r"<style.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL).split())


def judged(scenes: Judgement, photographs: Judgement, measure: str = "gain") -> Verdicts:
    """A made-up claim of RCAR with its verdicts."""
    claim = Claim(number=3, text="it helps", measure=measure)
    return Verdicts(paper="RCAR", claim=claim, on={SCENES: scenes, PHOTOGRAPHS: photographs})


GAINED = Judgement(
    verdict="holds", label="holds", evidence="a over b",
    recorded=((2.0, "gain"), (8.0, "gain"), (3.0, "gain")),
)  # fmt: skip
NONE = Judgement(
    verdict="no effect found", label="no effect found", evidence="a over b: +1.0",
    recorded=((1.0, "not significant"),), seeds="3", detectable="49 to 51",
)  # fmt: skip


def test_every_claim_has_a_line_with_the_verdicts_of_the_records(found: Found) -> None:
    page = findings.table(found).data
    rows = re.findall(r"<tr>(.*?)</tr>", page, flags=re.DOTALL)[1:]
    assert len(rows) == len(found.verdicts) == sum(map(len, claim_list.CLAIMS.values()))
    for line, row in zip(rows, claims.every_judged(claims.worlds()), strict=True):
        cells = [text_of(cell) for cell in re.findall(r"<td.*?>(.*?)</td>", line, flags=re.DOTALL)]
        assert cells[0].startswith(f"{row.paper}: {row.claim.text}")
        for cell, verdict in zip(cells[1:3], row.on.values(), strict=True):
            assert cell.startswith(verdict.label)
        assert f'href="{findings.PAGES[row.paper]}.html"' in line


ONCE = Judgement(
    verdict="not testable", label="not testable (one seed)", evidence="",
    recorded=((4.0, "not testable"),), seeds="1",
)  # fmt: skip


def test_the_median_is_of_each_dataset_with_a_recorded_row() -> None:
    both = sentences.median_gain(judged(NONE, GAINED))
    assert both == "+1.0 rSum (Scenes); +3.0 rSum (photographs, 3 rows)"
    assert sentences.median_gain(judged(NONE, ONCE)).endswith("+4.0 rSum (photographs, one seed)")
    missing = verdicts.untested("not run")
    of_attention = replace(NONE, unit=verdicts.POINTS)
    assert sentences.median_gain(judged(of_attention, missing)) == "+1.0 points (Scenes)"
    assert sentences.median_gain(judged(missing, missing)) == ""


def test_claims_are_counted_by_verdict_and_those_without_by_the_reason() -> None:
    reasons = [verdicts.untested("", verdicts.NOT_RUN), verdicts.untested("", verdicts.TIMING)]
    reasons.append(verdicts.untested("", verdicts.NOT_MEASURED))
    in_part = replace(GAINED, left_out=1)
    rows = [judged(GAINED, NONE), judged(NONE, ONCE), judged(in_part, verdicts.untested("no run"))]
    rows += [judged(NONE, reason) for reason in reasons]
    found = Found(verdicts=rows, status="", order={}, budgets={})
    assert text_of(findings.finding(found).data) == (
        "Finding: of 6 claims, on Scenes 1 holds, 1 holds so far, for 4 no effect was found; on "
        "photographs for 1 no effect was found, 1 has one seed, 1 is not measured on the same "
        "seeds, 1 is not run yet, 1 is a timing, 1 cannot be tested. These verdicts "
        "are not very sure, with at most 3 seeds a row, and trainings far shorter than the "
        "papers': a loss, or a gain that is missing, refutes no paper."
    )
    decided = findings.finding(replace(found, verdicts=rows[1:2])).data
    assert "Nothing is decided yet on photographs." in decided
    single = text_of(findings.finding(replace(found, verdicts=[judged(ONCE, ONCE)])).data)
    assert "at most 1 seed a row" in single


def test_a_verdict_says_how_many_rows_with_one_seed_go_the_other_way() -> None:
    single = [(gain, "not testable") for gain in (-2.0, -1.0, 0.5)]
    helped = replace(GAINED, recorded=((2.0, "gain"), *single), left_out=3, label="holds so far")
    lost = replace(helped, verdict="against", recorded=((-2.0, "loss"), *single), label="against")
    assert sentences.words(helped) == "holds so far; of 3 with one seed 2 lose"
    assert sentences.words(lost) == "against; of 3 with one seed 1 gains"
    half = replace(helped, recorded=((2.0, "gain"), *single[1:]))
    rows = [judged(helped, helped), judged(half, lost), judged(GAINED, half)]
    assert sentences.by_verdict(rows) == (
        "on Scenes 1 holds, 2 hold so far (for 1 of them most rows with one seed go the other "
        "way); on photographs 2 hold so far (for 1 of them most rows with one seed go the other "
        "way), for 1 a loss was found so far"
    )
    one = "1 holds so far (most rows with one seed go the other way)"
    assert one in sentences.by_verdict(rows[:1])
    assert (ONCE.opposed, sentences.words(ONCE)) == (0, ONCE.label)
    with warnings.catch_warnings(action="error"):  # a timing has a verdict, and no rows
        assert replace(GAINED, recorded=()).opposed == 0


def test_seeds_that_can_show_nothing_are_called_too_few() -> None:
    judgement = replace(NONE, seeds="2", detectable="more than 600")
    assert sentences.words(judgement).endswith("(2 seeds are too few to show any gain)")
    some = replace(judgement, detectable="40 to more than 600")
    assert sentences.words(some).endswith("(2 seeds are too few to show a gain in every row)")
    lower = replace(judgement, tendency="all 3 rows are lower")
    assert sentences.words(lower).endswith("to show any gain; all 3 rows are lower)")


def lines_of(verdicts: list[Verdicts]) -> list[str]:
    """The lines of the cover for made-up claims."""
    found = Found(verdicts=verdicts, status="", order={}, budgets={})
    return [text_of(line) for line in re.findall(r"<li>.*?</li>", findings.summary(found).data)]


def test_the_cover_names_what_was_decided_on_each_dataset_with_its_gain() -> None:
    part = replace(GAINED, left_out=1)
    lost = Judgement(verdict="against", label="", evidence="", recorded=((-7.0, "loss"),))
    mixed = replace(GAINED, verdict="mixed", unit=verdicts.POINTS)
    rows = [judged(GAINED, part), judged(lost, NONE), judged(mixed, ONCE), judged(part, part)]
    gain = "it helps (+3.0 rSum, median of 3 rows)"
    in_part = "it helps (+3.0 rSum, median of 3 of 4 rows)"
    assert lines_of(rows) == [
        f"What holds on photographs so far: RCAR : {in_part}, {in_part}.",
        f"What holds on Scenes: RCAR : {gain}.",
        f"What holds on Scenes so far: RCAR : {in_part}.",
        "Where a loss was found on Scenes: RCAR : it helps (-7.0 rSum).",
        "What is mixed on Scenes: RCAR : it helps (+3.0 points, median of 3 rows).",
    ]
    ours = replace(rows[0], claim=replace(rows[0].claim, subject="our reconstruction"))
    assert lines_of([ours])[1] == f"What holds on Scenes: RCAR (our reconstruction): {gain}."
    chan = replace(rows[0], paper="CHAN")
    assert lines_of([rows[0], chan])[1].endswith(f"RCAR : {gain}; CHAN : {gain}.")
    assert lines_of([judged(NONE, ONCE)]) == []  # the finding says that nothing was decided


def test_the_cover_names_every_decided_claim_of_the_records(found: Found) -> None:
    shown = text_of(findings.summary(found).data)
    for row in found.verdicts:
        for judged in row.on.values():
            if judged.verdict in findings.NAMED:
                assert f"{row.claim.text} ({np.median(judged.gains):+.1f} {judged.unit}" in shown
    assert "Do Scenes and photographs order" in shown
    assert "Does a gain depend on the budget?" in shown


def test_the_chart_has_a_dot_for_every_recorded_gain(found: Found) -> None:
    chart = findings.chart(found)
    assert isinstance(chart, Figure)
    drawn = [line for axes in chart.axes for line in axes.lines if line.get_marker() == "o"]
    gains = [gain for row in found.verdicts for on in row.on.values() for gain, _ in on.recorded]
    assert sorted(float(line.get_xdata()[0]) for line in drawn) == sorted(gains)
    none = findings.chart(replace(found, verdicts=[judged(*[verdicts.untested("no run")] * 2)]))
    assert isinstance(none, HTML)


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.2, 0.9, "the order on Scenes carries over in part"),
        (-0.4, 1.0, "the order on Scenes cannot be taken for that on photographs"),
    ],
)
def test_the_orders_agree_only_when_the_interval_says_so(
    low: float, high: float, says: str
) -> None:
    order = {"methods": 9, "tau_b": 0.5, "tau_low": low, "tau_high": high, "p": 0.0004}
    order["spearman"] = 0.6
    line = findings.order_line(order)
    assert f"of 9 methods is 0.50 [{low:.2f}, {high:.2f}], " in line
    assert "rho 0.60 with p &lt; 0.001 (1: the same order" in line
    assert line.endswith(f": {says}.")
    assert findings.order_line({}) == ""
