"""Sphinx in several processes: they end with the one that started them, and list our code alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil

from itm_book.pages.book_program import without_foreign_listings
from tests.itm_book.batch.stand_in import wait_for
from tests.kills.process import left

FORKING = """
import os, sys, time
from pathlib import Path
from itm_book.pages.book_program import end_forks_with_parent
end_forks_with_parent()
if os.fork() == 0:
    Path(sys.argv[1]).write_text(f"{os.getpid()}\\n")
time.sleep(100)
"""


def test_only_our_code_is_listed() -> None:
    kept = ("code", {}, {}, "reference")
    modules = {"functools": kept, "itm_core.errors": kept, "itm_book": kept, "itm_corex": kept}
    without_foreign_listings(None, SimpleNamespace(_viewcode_modules=modules))  # type: ignore[arg-type]
    assert [name for name, entry in modules.items() if entry] == ["itm_core.errors", "itm_book"]


def test_a_fork_ends_with_its_parent(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", FORKING, str(told)]) as parent:
        wait_for(lambda: told.exists() and told.read_text().endswith("\n"))
        fork = psutil.Process(int(told.read_text()))
        parent.kill()
    assert not left([fork])
