"""Commands that start processes, interrupted, terminated or killed: everything ends at once."""

from __future__ import annotations

import os
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
    process = subprocess.Popen(
        [sys.executable, "-c", f"{BEGIN.format(project=str(PROJECT))}enter({name!r})", *more],
        cwd=tmp_path / "w",
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=interruptible,
    )
    wait_for(lambda: process.poll() is not None or list((tmp_path / "w" / "out").glob(begun)))
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    send = os.killpg if number is signal.SIGINT else os.kill  # as a terminal, as a person
    send(process.pid, number)
    _, printed = process.communicate(timeout=SECONDS)
    if number is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert "Traceback" not in printed
        assert [line for line in printed.splitlines() if "interrupted" in line or "stopped" in line]
    assert not left(family)
    for path in tmp_path.rglob("*.lock"):
        with FileLock(path, timeout=0):
            pass
