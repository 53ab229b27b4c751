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

from itm_core.errors import InputError
from itm_core.parallel import run_parallel


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


def slow(folder: Path, task: int) -> int:
    (folder / f"{task}-{os.getpid()}").touch()
    time.sleep(0.2)
    return task


def test_a_caller_that_stops_leaves_out_what_has_not_started(tmp_path: Path) -> None:
    results = run_parallel(partial(slow, tmp_path), range(50), workers=1, progress=False)
    assert next(results) == 0
    results.close()
    assert len(list(tmp_path.iterdir())) < 10


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = "import sys\nfrom pathlib import Path\nfrom functools import partial\n"
    code += "from itm_core.parallel import run_parallel\n"
    code += "from tests.itm_core.test_parallel import slow\n"
    code += "function = partial(slow, Path(sys.argv[1]))\n"
    code += "list(run_parallel(function, range(10_000), workers=2, progress=False))"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as parent:
        while not list(tmp_path.iterdir()):
            assert parent.poll() is None
            time.sleep(0.01)
        workers = psutil.Process(parent.pid).children()
        os.kill(parent.pid, signal.SIGKILL)
    assert workers
    _, alive = psutil.wait_procs(workers, 60)
    assert not alive
