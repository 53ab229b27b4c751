"""Text of any origin in every page that is generated: it is shown, and is never markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from itm_book.chapters import findings
from itm_book.checkpoints.model_card import model_card
from itm_book.explorer import in_page
from itm_book.pages import run_entries, run_pages, staging
from itm_book.records.markdown import code, inert, table
from itm_book.tables import report
from itm_book.tables.claim_list import Claim
from itm_book.tables.claims import PHOTOGRAPHS, SCENES, Verdicts
from itm_book.tables.verdicts import Judgement

HOSTILE = (
    "<script>alert(1)</script>|`` ` {{x}} ]](javascript:alert(1)) [a](javascript:b) $x$ "
    '{raw}`html` "><img src=x onerror=alert(1)>\n\n```{eval-rst}\n.. raw:: html\n```\n# head\n'
)


def execution_page(text: str) -> str:
    place = {"device_name": text, "python": text, "packages": {text: text}, "system": text}
    run = {"notebook": text, "started": text, "seconds": 1, "parameters": {text: text}}
    return MarkdownIt().enable("table").render(staging.execution_page([run | place]))


def runs_page(text: str) -> str:
    entry = run_entries.RunEntry(
        place=(text, text, f"0-{text}"),
        run_state=run_entries.RunState.FAILED,
        error=text,
        problems=(text,),
        config={"dataset": text, "seed": 0, "recipe": {"name": text}, "fingerprint": text},
        environment={"device": text, "commit": text, "packages": {text: text}},
        settings=run_entries.Compared(chosen={"loss.kind": text}, changed={"loss.kind": text}),
    )
    return run_pages.runs_page([entry])


def report_table(text: str) -> str:
    rows = pd.DataFrame({text: [text, 1.0], "noted": [text, text]})
    return str(report.html(rows, text, notes={"noted": [text, ""]}).data)


def markdown(text: str) -> str:
    lines = table(["a", "b"], [[inert(text), code(text)]])
    return MarkdownIt().enable("table").render(f"{inert(text)}\n\n{lines}")


def card(text: str) -> str:
    numbers = {f"{side}_r{cut}": 1.0 for side in ("i2t", "t2i") for cut in (1, 5, 10)} | {"rsum": 6}
    test = numbers | {"images": 1, "captions": 5, "intervals": dict.fromkeys(numbers, (0, 2))}
    page = model_card(
        {
            "shipped": {"title": text, "name": "scan", "weights": "a" * 64},
            "features": {"width": 4, "backbone": text},
            "recipe": {"name": "scan", "paper": "SCAN"},
            **{"dataset": text, "boxes": text, "seed": 0},
        },
        {
            "test": {"float32": test, "float16": test},
            "moved_ranks": {"i2t": 0, "t2i": 0},
            "attention": {},
            **{"commit": "c0082a58b567", "terms": text, "words": 9, "largest_difference": 0.1},
        },
        {"seconds_training": 60, "device_name": text, "python": "3", "packages": {"torch": "2"}},
    )
    return MarkdownIt().enable("table").render(page.partition("\n---\n")[2])  # without the header


def verdicts_of(text: str) -> findings.Found:
    judged = Judgement(verdict="mixed", label=text, evidence=text, recorded=((1.0, "gain"),))
    claim = Claim(number=3, text=text, subject=text)
    gain = {"gain": 1.0, "effect": text, "seeds": 2, "deviation": 1.0}
    row = Verdicts(paper="RCAR", claim=claim, on={SCENES: judged, PHOTOGRAPHS: judged})
    return findings.Found(verdicts=[row], status=text, order={}, budgets={text: (gain, gain)})


GENERATORS: dict[str, Callable[[str], str]] = {
    "execution": execution_page,
    "runs": runs_page,
    "report": report_table,
    "markdown": markdown,
}


@pytest.mark.parametrize("name", GENERATORS)
def test_hostile_text_is_shown_and_is_no_markup(name: str) -> None:
    page = GENERATORS[name](HOSTILE)
    assert "alert(1)" in page
    assert not re.search(r"<(script|img|h1|em|strong)\b", page)
    assert 'href="javascript' not in page
    assert not re.search(r"<[^>]*\sonerror", re.sub(r'"[^"]*"', '""', page))
    # the output of a cell is HTML, which is not read as Markdown
    assert name == "report" or "\n```{eval-rst}" not in page


PARTS: dict[str, Callable[[str], str]] = {  # with elements of their own
    "card": card,
    "explorer": lambda text: in_page.part("explorer", {"caption": text, text: [text]}, text),
    "gallery": lambda text: in_page.part("gallery", {"sentence": text}, text),
    "findings": lambda text: str(findings.table(verdicts_of(text)).data),
    "summary": lambda text: str(findings.summary(verdicts_of(text)).data),
}


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, and where links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[Any, ...]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        links = [value for name, value in attributes if name in ("href", "src")]
        self.seen.append((tag, *(name for name, _ in attributes), *links))


@pytest.mark.parametrize("name", PARTS)
def test_hostile_text_adds_no_element(name: str) -> None:
    hostile = PARTS[name](HOSTILE)
    assert "alert(1)" in hostile
    assert Elements(hostile).seen == Elements(PARTS[name]("a word")).seen


def test_a_table_has_one_cell_for_each_value() -> None:
    page = MarkdownIt().enable("table").render(table(["a", "b"], [[inert(HOSTILE), code("|`|")]]))
    assert page.count("<td>") == 2
    assert "<code>|`|</code>" in page


@pytest.mark.parametrize("text", ["a", "`", "``a`", "a|b", "", " ", "\\", "a\nb", "\ud800"])
def test_code_is_one_span(text: str) -> None:
    page: Any = MarkdownIt().enable("table").render(table(["a"], [[code(text)]]))
    assert page.count("<code>") == page.count("</code>") == 1


def test_markup_is_written_as_character_references() -> None:
    source = inert(HOSTILE)
    assert not set(source) & set("\\`*_{}[]|$<>^~\n")
    assert source.count("alert(1)") == 3
