"""Compiled scoring against scoring as written, and the way out where nothing compiles."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import torch

from itm_core.evaluation import compiled
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments import recipes
from tests.itm_core.evaluation.test_scoring import some_data


@pytest.fixture(autouse=True)
def _forget() -> None:
    compiled._trial.cache_clear()
    torch.compiler.reset()


@pytest.mark.skipif(not shutil.which("g++"), reason="compiling for a CPU takes a C++ compiler")
@pytest.mark.parametrize(
    "recipe", ["scan-t2i-mean", pytest.param("bfan-prob", marks=pytest.mark.slow)]
)
def test_compiled_scores_are_the_scores(recipe: str) -> None:
    """One direction, or both and a gate; captions with and without padding, chunks of two sizes."""
    matcher = recipes.get(recipe).replace("encoder.embedding=8").build(5, 20, 4)
    features, captions = some_data(70, 30)
    plain = score_matrix(matcher, features, captions)
    np.testing.assert_allclose(
        score_matrix(matcher, features, captions, compile=True), plain, atol=2e-6
    )
    assert "forward" not in vars(matcher)


@pytest.mark.parametrize("recipe", ["scan-t2i-LSE", "chan", "saf", "sgr", "rcar-i2t"])
def test_a_method_is_one_graph(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler gets is the whole method: nothing falls back to Python in between."""
    whole = torch.compile
    monkeypatch.setattr(compiled, "_trial", lambda device: "")
    monkeypatch.setattr(
        torch, "compile", lambda f, **given: whole(f, **given, fullgraph=True, backend="eager")
    )
    matcher = recipes.get(recipe).replace("encoder.embedding=8").build(5, 20, 4)
    features, captions = some_data(5, 7)
    plain = score_matrix(matcher, features, captions)
    fast = score_matrix(matcher, features, captions, compile=True)
    np.testing.assert_allclose(fast, plain, atol=2e-6)


def test_without_a_compiler_the_scores_come_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(function: Any, **given: Any) -> Any:
        def run(*_: Any) -> Any:
            raise RuntimeError("no compiler found\nand a long story")

        return run

    monkeypatch.setattr(torch, "compile", refuse)
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=8").build(5, 20, 4)
    features, captions = some_data(5, 7)
    with pytest.warns(UserWarning, match=r"scoring without: no compiler found$"):
        scores = score_matrix(matcher, features, captions, compile=True)
    np.testing.assert_array_equal(scores, score_matrix(matcher, features, captions))


def test_every_matcher_has_variants_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler stops at so many variants of one code, whose ever they are."""
    whole = torch.compile
    monkeypatch.setattr(compiled, "_trial", lambda device: "")
    monkeypatch.setattr(torch, "compile", lambda f, **given: whole(f, **given, backend="eager"))
    features, captions = some_data(3, 4)
    with torch._dynamo.config.patch(recompile_limit=2, fail_on_recompile_limit_hit=True):
        names = ["chan", "scan-t2i-mean", "scan-i2t-mean", "bfan-prob"]
        small = [recipes.get(name).replace("encoder.embedding=8") for name in names]
        fast = [compiled.compiled(recipe.build(5, 20, 4).eval()) for recipe in small]
        for matcher in fast:
            score_matrix(matcher, features, captions[:1])
