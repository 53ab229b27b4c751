"""Text of any origin in every page that is generated: it is shown, and is never markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from itm_book.pages import run_entries, run_pages, staging
from itm_book.records.markdown import code, inert, table
from itm_book.tables import report

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
