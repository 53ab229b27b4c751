"""One function of many tasks, in several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from itm_core import parallel
from itm_core.errors import InputError
from itm_core.parallel import cores, run_parallel
from tests.places import PROJECT


def write(folder: Path, task: int) -> tuple[int, int]:
    if task == 1:
        raise InputError("one is refused")
    (folder / str(task)).touch()
    return task, torch.get_num_threads()


def test_results_come_in_order_and_an_error_stops_no_other_task(tmp_path: Path) -> None:
    results = run_parallel(
        partial(write, tmp_path), [0, 1, 2, 3], workers=2, threads=1, progress=False
    )
    assert next(results) == (0, 1)
    with pytest.raises(InputError, match="one is refused"):
        next(results)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "2", "3"]


LIMITED = """
import os
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
from itm_core.parallel import cores
import torch
print(cores(), torch.get_num_threads())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes have all cores")
@pytest.mark.parametrize(
    ("text", "expected"),
    [("max 100000", 8), ("150000 100000", 2), ("20000 100000", 1), ("9999999 100000", 8), ("", 8)],
)
def test_the_share_of_a_container_counts(
    text: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(parallel, "CPU_SHARE", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert cores() == expected
    monkeypatch.setattr(parallel, "CPU_SHARE", tmp_path / "none")
    assert cores() == 8


@pytest.mark.skipif(sys.platform != "linux", reason="processes have all cores")
def test_the_cores_are_those_that_the_process_may_use() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", LIMITED]
    assert subprocess.check_output(command, env=environment, text=True) == "1 1\n"


def slow(folder: Path, task: int) -> int:
    (folder / f"{task}-{os.getpid()}").touch()
    time.sleep(0.2)
    return task


def test_a_caller_that_stops_leaves_out_what_has_not_started(tmp_path: Path) -> None:
    results = run_parallel(partial(slow, tmp_path), range(50), workers=1, progress=False)
    assert next(results) == 0
    results.close()
    assert len(list(tmp_path.iterdir())) < 10


MANY = """
import sys
from functools import partial
from pathlib import Path
from itm_core.parallel import run_parallel
from tests.itm_core.test_parallel import slow
list(run_parallel(partial(slow, Path(sys.argv[1])), range(10_000), workers=2, progress=False))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", MANY, str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not list(tmp_path.iterdir()):
        assert parent.poll() is None
        time.sleep(0.01)
    workers = psutil.Process(parent.pid).children()
    assert workers
    if number is signal.SIGINT:
        os.killpg(parent.pid, number)  # as a terminal does
    else:
        parent.kill()
    _, printed = parent.communicate(timeout=60)
    assert printed.count("Traceback") == (number is signal.SIGINT)  # the parent's own
    _, alive = psutil.wait_procs(workers, 60)
    assert not alive


def die(task: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_said_with_the_likely_cause() -> None:
    with pytest.raises(InputError, match=r"was killed.*too little memory.*--workers than 2"):
        list(run_parallel(die, range(3), workers=2, progress=False))


UNGUARDED = """
from pathlib import Path
from itm_core.files import locked
from itm_core.parallel import run_parallel
with locked(Path({lock!r})):
    print(list(run_parallel(abs, [-1, 2], workers=2, progress=False)))
"""


@pytest.mark.parametrize("held", [True, False])
def test_a_script_that_each_worker_would_run_again_ends_and_says_why(
    tmp_path: Path, held: bool
) -> None:
    text = UNGUARDED.format(lock=str(tmp_path / "lock"))
    if not held:
        text = text.replace("with locked", "if locked")
    (tmp_path / "script.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "this script starts processes" in done.stderr
    assert done.stderr.rstrip().endswith("found the error above this one")
