"""The answers hold for any pair, and the page shows text, code and numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from itm_book.chapters import chan, contrastive, rcar, scan
from itm_book.pairs.method_code import answer
from itm_book.reference.plain import unit
from itm_book.reference.rcar import Maps
from tests.places import PROJECT

CHAPTERS = {"scan": scan, "rcar": rcar, "chan": chan, "contrastive": contrastive}


def random_maps(D: int, K: int, draw: torch.Generator) -> Maps:
    def linear(out: int, inputs: int) -> Callable[[Tensor], Tensor]:
        matrix = torch.randn(out, inputs, generator=draw) / inputs**0.5
        return lambda x: x @ matrix.T

    pairs = ((K, D), (2 * K, K), (D, 2 * K), (K, K), (1, K), (K, K), (K, K), (1, K))
    return Maps(*(linear(*pair) for pair in pairs))


def absent(x: Tensor) -> Tensor:
    raise AssertionError("the last step of RCAR has no correction")


def given(chapter: str, seed: int) -> tuple[Any, ...]:
    draw = torch.Generator().manual_seed(seed)
    V, W, swapped = (unit(torch.randn(n, 16, generator=draw)) for n in (7, 5, 5))
    if chapter == "contrastive":
        return W, V, torch.softmax(3 * W @ V.T, 1), swapped
    if chapter == "rcar":
        last = replace(random_maps(16, 4, draw), W_1=absent, W_2=absent, W_3=absent, w_2=absent)
        return W, V, [random_maps(16, 4, draw), last], random_maps(16, 4, draw).w, 5.0
    return W, V


def answers(chapter: str) -> list[str]:
    module = CHAPTERS[chapter]
    functions = {
        k: v for k, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__
    }
    return [name for name in functions if not name.startswith("_")]


ALL = [(chapter, name) for chapter in CHAPTERS for name in answers(chapter)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("chapter", "name"), ALL)
def test_an_answer_holds_for_any_pair(chapter: str, name: str, seed: int) -> None:
    numbers = getattr(CHAPTERS[chapter], name)(*given(chapter, seed))
    assert numbers
    assert all(value == value for value in numbers.values())


@pytest.mark.parametrize(("chapter", "name"), ALL)
def test_the_page_has_the_text_the_code_and_the_numbers(chapter: str, name: str) -> None:
    page = answer(getattr(CHAPTERS[chapter], name), *given(chapter, 0)).data
    text, code, numbers = re.fullmatch(
        r"(.+?)\n\n```python\n(.+?)\n```\n\n```text\n(.+)\n```", page, re.DOTALL
    ).groups()
    assert len(text.split()) > 20
    assert '"""' not in code
    assert code.startswith("def ")
    assert len(code.splitlines()) <= 20
    assert re.search(r"  -?\d[\d.e+-]*$", numbers)


def test_some_statements_of_the_answers() -> None:
    assert chan.twice(*given("chan", 0))["mean"] == pytest.approx(0, abs=1e-6)
    assert contrastive.ccr_uniform(*given("contrastive", 0))["correlation"] > 0.5
    losses = contrastive.ccr_one_region(*given("contrastive", 0))
    assert losses["best region"] < losses["worst region"]
    shares = rcar.signs(*given("rcar", 0))
    assert shares["reversed"] == 0
    assert shares["damped"] > 0


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_shows_three_folded_answers(chapter: str) -> None:
    notebook = json.loads((PROJECT / "notebooks" / f"{chapter}.ipynb").read_text())
    cells = [c for c in notebook["cells"] if "hide-output" in c["metadata"].get("tags", [])]
    shown = [re.search(rf"answer\(\s*{chapter}\.(\w+)", "".join(c["source"]))[1] for c in cells]
    assert shown == answers(chapter)
    assert len(shown) == 3
