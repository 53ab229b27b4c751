"""A process of its own: what it is given, and what it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from itm_book.bench import alone
from itm_core.errors import InputError

TOLD = """
import json, os, sys
print(json.dumps([json.loads(sys.argv[1]), os.environ.get("MKL_CBWR"), "PATH" in os.environ]))
"""


def test_variables_are_given_beside_those_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    (tmp_path / "told.py").write_text(TOLD)
    same = {"what": "a test", "remedy": "none"}
    path = {"PYTHONPATH": str(tmp_path)}
    changed = {"MKL_CBWR": "COMPATIBLE"}
    for given, expected in ((path, "AVX2"), (path | changed, "COMPATIBLE")):
        assert alone.answer("told", {"a": 1}, environment=given, **same) == [
            {"a": 1},
            expected,
            True,
        ]
    assert os.environ["MKL_CBWR"] == "AVX2"


def test_a_process_that_fails_is_named() -> None:
    with pytest.raises(InputError, match="ended early.*a test.*No module named"):
        alone.answer("itm_core.none", {}, what="a test", remedy="none")
