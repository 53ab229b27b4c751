"""Several processes of one program: what they are told, how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from itm_core.cli import main
from itm_core.errors import InputError
from itm_core.parallel import WATCHED
from itm_core.training.launch import launch, started

TELL = """
import os, sys, time
from pathlib import Path
place, rank = Path(sys.argv[1]), os.environ["RANK"]
told = " ".join(os.environ[name] for name in ("LOCAL_RANK", "WORLD_SIZE", "OMP_NUM_THREADS"))
(place / rank).write_text(f"{os.getpid()} {told}")
"""
WAIT = f"{WATCHED}\ntime.sleep(60)"
FAIL = "if rank == '1': sys.exit('it was the second')\ntime.sleep(60)"


def wait_for(what: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def began(place: Path) -> bool:
    return all((place / rank).exists() and (place / rank).read_text() for rank in "01")


def alive(place: Path) -> bool:
    return any(psutil.pid_exists(int((place / r).read_text().split()[0])) for r in "01")


def from_outside(place: Path) -> subprocess.Popen[str]:
    """A process that launches two which wait, once they have begun."""
    program = f"""import sys
from itm_core.training.launch import launch
try:
    sys.exit(launch({words(place)}, 2))
except KeyboardInterrupt:
    sys.exit(130)"""
    process = subprocess.Popen([sys.executable, "-c", program], text=True)
    wait_for(lambda: began(place))
    return process


def words(place: Path, body: str = WAIT) -> list[str]:
    return ["-c", TELL + body, str(place)]


def test_each_is_told_who_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert launch(words(tmp_path, ""), 2) == 0
    assert [(tmp_path / r).read_text().split()[1:] for r in "01"] == [list("023"), list("123")]
    assert not started()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert started()


def test_one_that_fails_ends_all_and_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("itm_core.training.launch.GRACE", 0.3)
    assert launch(words(tmp_path, FAIL), 2) == 1
    assert "it was the second" in capfd.readouterr().err
    assert not alive(tmp_path)


def test_one_that_is_killed_is_said_with_the_likely_cause(tmp_path: Path) -> None:
    body = "import signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(InputError, match="was killed; found most likely too little memory"):
        launch(words(tmp_path, body), 2)


def test_a_termination_is_passed_on(tmp_path: Path) -> None:
    process = from_outside(tmp_path)
    process.terminate()
    assert process.wait(30) == 130
    assert not alive(tmp_path)


def test_none_outlives_the_one_that_started_it(tmp_path: Path) -> None:
    process = from_outside(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not alive(tmp_path))


def test_too_few_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="too few processes"):
        launch([], 0)
    assert main(["train", "--dataset", "x", "--recipe", "y", "--processes", "0"]) == 2
    assert "--processes: expected a whole number from 1" in capsys.readouterr().err
