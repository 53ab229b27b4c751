"""Measurements in a separate process: argument, environment, failures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from itm_book.bench.isolated import run_isolated
from itm_core.errors import InputError

ECHO = """
import json, os, sys
print(json.dumps([json.loads(sys.argv[1]), os.environ.get("MKL_CBWR"), "PATH" in os.environ]))
"""


def test_variables_are_added_to_those_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    (tmp_path / "echo.py").write_text(ECHO)
    path = {"PYTHONPATH": str(tmp_path)}
    changed = {"MKL_CBWR": "COMPATIBLE"}
    for environment, expected in ((path, "AVX2"), (path | changed, "COMPATIBLE")):
        printed = run_isolated(
            "echo", {"a": 1}, label="a test", remedy="none", environment=environment
        )
        assert printed == [{"a": 1}, expected, True]
    assert os.environ["MKL_CBWR"] == "AVX2"


def test_a_process_that_fails_is_named() -> None:
    with pytest.raises(InputError, match="ended early.*a test.*No module named"):
        run_isolated("itm_core.none", {}, label="a test", remedy="none")
