"""Commands that start processes, interrupted, terminated or killed: everything ends at once."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from tests.itm_book.batch.stand_in import wait_for
from tests.kills.cases import make_book, make_grid
from tests.kills.process import left
from tests.micro import write_dataset

LINE = "itm: interrupted; run the same command to go on"
STOPPED = ("itm: stopped; the state is kept in ", "itm: stopped. Kept: the dataset")
SECONDS = 15.0  # the machine may be busy
WAIT = "import time\nfrom pathlib import Path\nPath({folder!r}, 'begun').touch()\ntime.sleep(200)"
BEGIN = "import sys; sys.path[:0] = [{project!r}]\nfrom tests.kills.process import enter\n"
PROJECT = Path(__file__).resolve().parents[2]

Make = Callable[[Path, Path], None]


def waiting_grid(inputs: Path, out: Path) -> None:
    make_grid(inputs, None, WAIT.format(folder=str(out)))
    shutil.copytree(inputs / "data", out)


def waiting_book(inputs: Path, out: Path) -> None:
    make_book(inputs, None, WAIT.format(folder=str(out)))
    shutil.copytree(inputs / "clone", out)


def long_training(inputs: Path, out: Path) -> None:
    write_dataset(inputs / "micro")
    out.mkdir(parents=True)


COMMANDS: dict[str, tuple[Make, list[str], str]] = {
    "grid": (waiting_grid, [], "begun"),
    "book": (waiting_book, [], "begun"),
    "train": (
        long_training,
        ["--processes", "2", "--set", "training.epochs=100000"],
        "*/*/*/state.pt",
    ),
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
QUICK = {("book", signal.SIGINT), ("grid", signal.SIGKILL), ("train", signal.SIGTERM)}


def interruptible() -> None:
    """Take interrupts as at a terminal: jobs in the background of a shell ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(command: list[str], folder: Path, begun: str) -> subprocess.Popen[str]:
    """A command with a process group of its own, once the process that it starts is at work."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=interruptible,
    )
    wait_for(lambda: process.poll() is not None or list(folder.glob(f"out/{begun}")))
    return process


def program(name: str) -> list[str]:
    return [sys.executable, "-c", f"{BEGIN.format(project=str(PROJECT))}enter({name!r})"]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        pytest.param(n, s, id=f"{n}-{s.name}", marks=() if (n, s) in QUICK else pytest.mark.slow)
        for n in COMMANDS
        for s in SIGNALS
    ],
)
def test_everything_ends_and_no_lock_is_held(
    name: str, number: signal.Signals, tmp_path: Path
) -> None:
    make, more, begun = COMMANDS[name]
    make(tmp_path / "inputs", tmp_path / "w" / "out")
    process = started([*program(name), *more], tmp_path / "w", begun)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    send = os.killpg if number is signal.SIGINT else os.kill  # as a terminal, as a person
    send(process.pid, number)
    _, printed = process.communicate(timeout=SECONDS)
    if number is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        require_one_line(printed)
    assert not left(family)
    require_free_locks(tmp_path)


def require_one_line(printed: str) -> None:
    assert "Traceback" not in printed
    (line,) = (line for line in printed.splitlines() if line.startswith("itm: "))
    assert line == LINE or line.startswith(STOPPED)


def require_free_locks(folder: Path) -> None:
    for path in folder.rglob("*.lock"):
        with FileLock(path, timeout=0):
            pass


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_one_interrupt_ends_what_make_has_started(tmp_path: Path) -> None:
    waiting_book(tmp_path / "inputs", tmp_path / "out")
    script = tmp_path / "bin" / "itm"
    script.parent.mkdir()
    words = shlex.join(program("book"))
    script.write_text(f"#!/bin/sh\ncd {shlex.quote(str(tmp_path))}\nexec {words}\n")
    script.chmod(0o755)
    (tmp_path / "complete").touch()  # newer than what the environment is made from
    names = [f"BIN={script.parent}", f"COMPLETE={tmp_path / 'complete'}", "PYTHON=python3"]
    command = ["make", "--file", str(PROJECT / "Makefile"), "--directory", str(PROJECT), "book"]
    process = started([*command, *names], tmp_path, "begun")
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) > 2
    os.killpg(process.pid, signal.SIGINT)
    _, printed = process.communicate(timeout=SECONDS)
    assert process.returncode
    require_one_line(printed)
    assert not left(family)
    require_free_locks(tmp_path)
