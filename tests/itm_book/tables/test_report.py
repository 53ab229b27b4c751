"""Tables made from runs: their numbers are the runs' own."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from itm_book.chapters import experiment
from itm_book.figures import retrieval_examples
from itm_book.pairs.walkthrough import scan_steps
from itm_book.tables import report
from itm_book.tables.notes import Note, note_of, with_note
from itm_core.data.dataset import load_dataset
from itm_core.errors import InputError
from itm_core.experiments import runs
from tests.micro import SMALL, write_dataset


def test_tables_are_escaped_and_scroll() -> None:
    shown = report.html(pd.DataFrame({"a": ["<b>"]}), "a < b").data
    assert "&lt;b&gt;" in shown
    assert "a &lt; b" in shown
    assert "overflow-x: auto" in shown
    assert report.quote("a dog").data == "> a dog"


def test_names_of_columns_are_escaped_too() -> None:
    assert "<b>" not in report.html(pd.DataFrame({"<b>": [1]}), "").data


def test_an_interval_is_in_the_note_of_its_cell_and_in_its_text() -> None:
    table = pd.DataFrame({"rSum": ["340.8 [331.0, 350.2] ± 8.1", "a claim [1, 2]", "3 [see]"]})
    shown = report.html(table, "").data
    shown = shown.replace("\N{NO-BREAK SPACE}", " ")
    assert '340.8<span class="interval"> [331.0, 350.2]</span> ± 8.1</span>' in shown
    assert 'title="95 % interval [331.0, 350.2]" aria-label="340.8 ± 8.1: 95 % interval' in shown
    assert shown.count("interval") == 3  # the other cells have none
    table.attrs["interval"] = "5 % to 95 %"
    both = report.html(table, "", notes={"rSum": ["why", None, None]}).data
    assert 'title="5 % to 95 % [331.0, 350.2]; why"' in both


def test_columns_behind_the_switch_are_marked_head_and_cells() -> None:
    table = report.behind_switch(pd.DataFrame({"a": [1, 2], "b": [3, 4]}), ["b", "gone"])
    shown = report.html(table, "").data
    assert '<th scope="col" class="more">b</th>' in shown
    assert shown.count('<td class="more">') == 2
    assert shown.count("more") == 3


def noted(*notes: Note | str | None) -> str:
    """Return a table of 61.12, 62.0 and a missing number, with notes."""
    table = pd.DataFrame({"recall": [61.12, 62, None], "n": [3, 4, 5]}, index=[7, 7, 9])
    return str(report.html(table, "c", notes={"recall": notes}).data)


def test_a_note_is_within_reach_of_mouse_and_keys() -> None:
    shown = noted("Table 1 of SCAN", None, "")
    assert shown.count("Table 1 of SCAN") == 2
    assert 'title="Table 1 of SCAN"' in shown
    assert 'aria-label="61.1: Table 1 of SCAN"' in shown
    assert shown.count('tabindex="0"') == 1
    assert shown.count(">61.1<") == shown.count(">62.0<") == 1


def test_a_number_that_was_not_printed_can_have_a_source() -> None:
    assert 'aria-label="–: not in Table 1"' in noted("", "", "not in Table 1")
    assert "–" not in noted("a", "b", None)


def test_a_cell_can_lead_to_a_page() -> None:
    shown = noted(Note(link="../book/runs.html#run-1"), Note("why", "https://a.b/?c&d"), None)
    assert '<a href="../book/runs.html#run-1">61.1</a>' in shown
    assert 'href="https://a.b/?c&amp;d"' in shown
    assert 'title="why"' in shown


def test_notes_are_escaped() -> None:
    shown = noted("<script>\"'&", Note("x", '../a"><b>'), None)
    assert "<script>" not in shown
    assert "<b>" not in shown
    cells = pd.DataFrame({"a": ["<i>"]})
    assert "<i>" not in report.html(cells, "", notes={"a": [Note("x", "y")]}).data
    assert "<i>" not in report.html(cells, "", notes={"a": [Note(link="y")]}).data
    assert "<i>" not in report.html(cells, "", notes={"a": [None]}).data


@pytest.mark.parametrize("link", ["javascript:alert(1)", "java\tscript:x", " data:x", "file:///x"])
def test_a_link_that_is_no_page_is_refused(link: str) -> None:
    with pytest.raises(InputError, match="not a link to a page"):
        Note(link=link)


def test_notes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="3 for one of the columns recall, n, found 1 for recall"):
        noted("only one")
    with pytest.raises(InputError, match="found 1 for rank"):
        report.html(pd.DataFrame({"a": [1]}), "", notes={"rank": ["x"]})


@pytest.mark.parametrize("value", ["a dog", 3, 3.5, np.float32(0.5), np.int64(7), True, (1, 2)])
def test_a_cell_with_a_note_is_the_value(value: object) -> None:
    cell = with_note(value, "why")
    assert cell == (str(value) if isinstance(value, bool | tuple) else value)
    assert note_of(cell) == Note("why")
    assert note_of(with_note(cell, Note(link="a.html"))) == Note(link="a.html")
    assert note_of(with_note(cell, None)) is None
    assert note_of(pickle.loads(pickle.dumps(cell))) == Note("why")


def test_nothing_with_a_note_stays_nothing() -> None:
    for value in (None, np.nan, pd.NA):
        assert pd.isna(with_note(value, "not printed"))
        assert note_of(with_note(value, "not printed")) == Note("not printed")


def test_figures_of_a_dataset_without_pictures(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "micro")
    run = runs.train_or_load(
        dataset, "scan-t2i-mean", root=tmp_path, overrides=SMALL, device="cpu", progress=False
    )
    data = load_dataset(dataset)
    assert "Best images" in retrieval_examples.images_for(data.test, run.scores, 3).data
    assert "Best captions" in retrieval_examples.captions_for(data.test, run.scores, 3).data
    facts = dict(experiment.facts(run, data).values.tolist())
    assert "12 / 12 / 12 images" in facts["dataset"]
    assert report.numbers(run)["R@1"].str.contains(r"\[").all()


def test_the_steps_lead_to_the_score(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "micro")
    run = runs.train_or_load(
        dataset, "scan-t2i-mean", root=tmp_path, overrides=SMALL, device="cpu", progress=False
    )
    steps = scan_steps(run, load_dataset(dataset).test, 0, 2)
    np.testing.assert_allclose(np.linalg.norm(steps.normalised, axis=0), 1, atol=1e-3)
    weights = np.exp(9.0 * steps.normalised)
    np.testing.assert_allclose(steps.weights, weights / weights.sum(1, keepdims=True), atol=1e-5)
    assert steps.score == pytest.approx(steps.relevance.mean(), abs=1e-6)
    assert steps.score == pytest.approx(run.scores[0, 2], abs=1e-6)
