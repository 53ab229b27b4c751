"""What the page of findings says, against the records and against cases worked out by hand."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

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


GAINED = Judgement(verdict="holds", label="holds", evidence="a over b", gains=(2.0, 8.0, 3.0))
NONE = Judgement(
    verdict="no effect found", label="no effect found", evidence="a over b: +1.0", gains=(1.0,),
    seeds="3", detectable="49 to 51",
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
    verdict="not testable", label="not testable (one seed)", evidence="", gains=(4.0,), seeds="1"
)


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
    part = "so far, 1 of 2 rows, 1 not run here"
    in_part = replace(GAINED, label=f"holds {part}", left_out=1)
    rows = [judged(GAINED, NONE), judged(NONE, ONCE), judged(in_part, verdicts.untested("no run"))]
    rows += [judged(NONE, reason) for reason in reasons]
    found = Found(verdicts=rows, status="", order={}, budgets={})
    assert text_of(findings.finding(found).data) == (
        "Finding: of 6 claims, on Scenes 1 holds, 1 holds so far, for 4 no effect was found; on "
        "photographs for 1 no effect was found, 1 has one seed, 1 is not measured on the same "
        "seeds, 1 is not run yet, 1 is a timing, 1 cannot be tested. What holds: RCAR: it helps on "
        f"Scenes; RCAR: it helps on Scenes {part}. These verdicts "
        "are not very sure, with at most 3 seeds a row, and trainings far shorter than the "
        "papers': a gain that is missing here refutes no paper."
    )
    lost = replace(NONE, verdict="against", label=f"against {part}", left_out=1)
    opposed = text_of(findings.finding(replace(found, verdicts=[judged(NONE, lost)])).data)
    goes = "1 goes against the paper so far. What goes against the paper: RCAR: it helps"
    assert f"{goes} on photographs {part}. These" in opposed
    decided = findings.finding(replace(found, verdicts=rows[1:2])).data
    assert "Nothing is decided yet on photographs." in decided


def test_seeds_that_can_show_nothing_are_called_too_few() -> None:
    judgement = replace(NONE, seeds="2", detectable="more than 600")
    assert sentences.words(judgement).endswith("(2 seeds are too few to show any gain)")
    some = replace(judgement, detectable="40 to more than 600")
    assert sentences.words(some).endswith("(2 seeds are too few to show a gain in every row)")
    lower = replace(judgement, tendency="all 3 rows are lower")
    assert sentences.words(lower).endswith("to show any gain; all 3 rows are lower)")


def test_the_cover_has_five_lines_of_the_records(found: Found) -> None:
    lines = re.findall(r"<li>(.*?)</li>", findings.summary(found).data)
    assert len(lines) == 5
    for paper, line in zip(claim_list.CLAIMS, lines, strict=False):
        (row,) = (
            r
            for r in found.verdicts
            if (r.paper, r.claim.number) == (paper, findings.HEADLINES[paper])
        )
        assert all(verdict.label in line for verdict in row.on.values())
        assert sentences.median_gain(row) in line


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
