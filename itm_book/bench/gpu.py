"""All measurements that need a GPU, in one command of at most eight minutes: ``itm bench gpu``.

Each part is a process of its own with a limit of time, so that one that fails or hangs costs no
other, and the command ends with what it measured and with what is missing, and why. The parts that
other commands measure are those commands.

Page: "What it costs".
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, TimeoutExpired
from tempfile import TemporaryDirectory

import itm_core
from itm_book.bench import record
from itm_book.bench.gpu_checks import Check
from itm_book.records.commits import require_committed
from itm_core.environment import current_commit, pick_device
from itm_core.errors import InputError
from itm_core.parallel import WATCHED, start_program

SIZE = ("--images", "5000", "--captions", "25000", "--reference-captions", "100")
TESTS = Path(itm_core.__file__).parents[1] / "tests" / "itm_core"  # in a checkout of the repository
STEPS = ("scan-t2i-mean-f30k", "rcar-t2i-f30k", "sgr-f30k")
PASSED, FAILED, LATE, ABSENT = "done", "failed", "took too long", "not run"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the measurement: a program of Python, and how long it may take.

    Attributes:
        module: that is run, as by ``python -m``.
        arguments: of the program.
        remedy: the command to try when it fails.
    """

    name: str
    module: str
    arguments: Sequence[str]
    seconds: float
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a part: its state, its seconds, and what it printed or why it failed."""

    name: str
    state: str
    seconds: float
    text: str

    def line(self) -> str:
        """Return the outcome as one line, and what was printed below it."""
        return f"{self.name}: {self.state}, {self.seconds:.0f} s\n{self.text}".rstrip()


def parts(device: str, folder: str, *, recorded: bool) -> list[Part]:
    """Return the parts on a device; ``folder`` holds the data of the short training.

    The limits of time add up to less than eight minutes.
    """
    record_too = ["--record"] if recorded else []
    fast = ("--device", device, "--precision", "tf32")
    checks = json.dumps([device, folder])
    return [
        Part(
            name="tests marked gpu",
            module="pytest",
            arguments=["-q", "-m", "gpu", "-p", "no:cacheprovider", str(TESTS)],
            seconds=90,
            remedy="python -m pytest -m gpu tests/itm_core",
        ),
        Part(
            name="CPU and GPU agree",
            module="itm_book.bench.gpu_checks",
            arguments=[checks],
            seconds=110,
            remedy=f"python -m itm_book.bench.gpu_checks '{checks}'",
        ),
        Part(
            name="training steps",
            module="itm_core",
            arguments=["bench", "training", *STEPS, *fast, "--repeats", "10", *record_too],
            seconds=100,
            remedy=f"itm bench training --device {device} --batch 64",
        ),
        Part(
            name="scoring at MSCOCO 5K",
            module="itm_core",
            arguments=["bench", "scoring", *SIZE, *fast, "--repeats", "3", *record_too],
            seconds=170,
            remedy=f"itm bench scoring --device {device} --methods CHAN",
        ),
    ]


def run_part(part: Part) -> Outcome:
    """Run a part; it is stopped at its limit of time. Never raises for what the part does."""
    if str(TESTS) in part.arguments and not TESTS.is_dir():
        missing = "the tests are in a checkout of the repository"
        return Outcome(name=part.name, state=ABSENT, seconds=0, text=missing)
    started = time.perf_counter()
    run = f"import runpy; runpy.run_module({part.module!r}, run_name='__main__', alter_sys=True)"
    process = start_program(["-c", WATCHED + run, *part.arguments], stdout=PIPE, stderr=PIPE)
    try:
        printed, errors = process.communicate(timeout=part.seconds)
        state = FAILED if process.returncode else PASSED
    except TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it has a session of its own
        printed, errors = process.communicate()
        state = LATE
    seconds = time.perf_counter() - started
    text = printed.decode(errors="replace").strip()
    if state != PASSED:
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        limit = f"the limit is {part.seconds:.0f} s" if state == LATE else "".join(last)
        reason = limit or f"status {process.returncode}"
        text = f"{text}\n  {reason}. Try: {part.remedy}".strip("\n")
    return Outcome(name=part.name, state=state, seconds=seconds, text=text)


def checks_of(outcome: Outcome) -> list[Check]:
    """Return the checks that a part printed, one a line; none of another part."""
    lines = [line for line in outcome.text.splitlines() if line.startswith('{"check"')]
    return [Check(**json.loads(line)) for line in lines]


def measure(options: argparse.Namespace) -> int:
    """Measure all parts and print them; return 1 when a part did not end well, or a check failed.

    Raises `InputError` at once where there is no such device, or where nothing could be recorded.
    """
    if pick_device(options.device).type == "cpu":
        raise InputError(
            "nothing to measure without a GPU",
            expected="a device that torch knows, such as cuda",
            found=f"--device {options.device}, which is the CPU here",
            remedy="run the same command on a machine with a GPU",
        )
    if options.record:
        require_committed(current_commit())
    outcomes: list[Outcome] = []
    checks: list[Check] = []
    with TemporaryDirectory() as folder:
        for part in parts(options.device, folder, recorded=options.record):
            outcome = run_part(part)
            outcomes.append(outcome)
            print(outcome.line(), flush=True)
            checks += checks_of(outcome)
    if options.record and checks:
        record.save("gpu", record.check_rows(checks, options.device))
    print("\n".join(check.line() for check in checks))
    return int(any(o.state != PASSED for o in outcomes) or not all(c.met for c in checks))
