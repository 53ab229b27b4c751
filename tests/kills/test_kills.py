"""Commands that are killed at any moment and run again end as if nothing had happened."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kills.cases import CASES, Case, content
from tests.kills.process import run
from tests.loopback import serving

SLOW = 20  # moments of each command


@dataclass(frozen=True)
class Whole:
    """A case that was not interrupted."""

    case: Case
    home: Path
    content: dict[str, object]
    operations: int
    seconds: float


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Whole]:
    case: Case = request.param
    home = tmp_path_factory.mktemp(case.name)
    with serving() as server:
        case.make(home / "inputs", server)
        started = time.monotonic()
        folder = place(case, home, "whole")
        assert run(case.arguments, folder, case.prepare) == 0, (folder / "log.txt").read_text()
        seconds = time.monotonic() - started
        operations = int((folder / "operations.txt").read_text())
        yield Whole(case, home, content(folder / "out"), operations, seconds)


def place(case: Case, home: Path, name: str) -> Path:
    """Return a new working folder."""
    folder = home / name
    folder.mkdir()
    if case.seed:
        shutil.copytree(home / "inputs" / case.seed, folder / "out")
    return folder


def check(whole: Whole, name: str, **moment: float) -> int:
    """Kill a command, run it again, and return how the first ended."""
    case, folder = whole.case, place(whole.case, whole.home, name)
    code = run(case.arguments, folder, case.prepare, **moment)
    finished = content(folder / "out") == whole.content
    again = run(case.arguments, folder, case.prepare)
    expected = case.finished if finished else 0
    assert again == expected, f"{moment}: {(folder / 'log.txt').read_text()}"
    assert content(folder / "out") == whole.content, moment
    assert not [path for path in folder.rglob("*") if "partial" in path.name], moment
    shutil.rmtree(folder)
    return code


def test_killed_at_an_operation_and_run_again_ends_the_same(whole: Whole) -> None:
    assert whole.operations > 3
    draw = random.Random(whole.case.name)
    for moment in draw.sample(range(1, whole.operations + 1), whole.case.quick):
        assert check(whole, f"operation-{moment}", fatal=moment) == -signal.SIGKILL


@pytest.mark.slow
def test_killed_at_many_operations(whole: Whole) -> None:
    moments = range(1, whole.operations + 1)
    for moment in sorted(random.Random(1).sample(moments, min(SLOW, len(moments)))):
        assert check(whole, f"operation-{moment}", fatal=moment) == -signal.SIGKILL


@pytest.mark.slow
def test_killed_at_many_moments(whole: Whole) -> None:
    draw = random.Random(2)
    for k in range(SLOW):
        check(whole, f"moment-{k}", seconds=draw.uniform(0, whole.seconds))
