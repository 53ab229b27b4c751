"""One cell of a batch: the experiment notebook, executed into the folder of its run.

``python -m itm_book.batch.experiment CELLS.json RUN`` is what a batch starts for every cell, here
or on a node of a cluster; `planning` writes the JSON. The notebook trains the run, resumes it or
loads it; it is executed beside its place and renamed, so a run that holds ``experiment.ipynb``
holds a whole one. A cell that fails leaves ``experiment.failed.ipynb`` and ``error.txt`` instead.

Nothing here imports torch: a batch starts this once for every cell.

Page: "Batches".
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from itm_core.files import read_json, space_checked

NOTEBOOK = "experiment.ipynb"
FAILED = "experiment.failed.ipynb"
ERROR = "error.txt"
LINES = 20  # of the traceback that are kept in `ERROR`
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
START_SECONDS = 300  # for a kernel to start: minutes when a cluster reads from a cold disk


class CellError(RuntimeError):
    """The notebook of a cell failed: the message is the last line of its ``error.txt``."""


def run_cell(
    notebook: Path,
    folder: Path,
    parameters: Mapping[str, Any],
    *,
    threads: int = 1,
    gpus: int = 0,
) -> Path:
    """Return the executed notebook of a cell, executing it unless it is there.

    Args:
        notebook: what to execute; it is run in its own folder.
        folder: of the run.
        parameters: of the notebook.
        threads: that its libraries may use.
        gpus: how many GPUs of this machine cells share; each takes one for itself. 0 if none
            is to be taken, or the scheduler of a cluster has given one.

    Waits while another process runs the same cell. Raises `CellError` when the notebook fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".cell.lock"):
        if not (folder / NOTEBOOK).exists():
            # A kernel outlives a killed batch by about a second, and `itm train` may be at it:
            # wait for whoever trains this run (runs.py), and go on from the checkpoint.
            with FileLock(folder / ".lock"):
                pass
            limits = dict.fromkeys(THREADS, str(threads))
            with claim_gpu(gpus), environment_set(limits):
                _execute(notebook, folder, parameters)
    return folder / NOTEBOOK


def _execute(notebook: Path, folder: Path, parameters: Mapping[str, Any]) -> None:
    import papermill

    partial, failed, told = folder / ".experiment.partial.ipynb", folder / FAILED, folder / ERROR
    told.unlink(missing_ok=True)
    try:
        with space_checked(partial):
            papermill.execute_notebook(
                str(notebook),
                str(partial),
                dict(parameters),
                kernel_name="python3",
                cwd=str(notebook.parent),
                progress_bar=False,
                start_timeout=START_SECONDS,
                extra_arguments=["--IPKernelApp.log_level=ERROR"],  # no warning about local ports
            )
            partial.replace(folder / NOTEBOOK)
    except Exception as error:
        if partial.exists():
            partial.replace(failed)
        lines = _last_lines(error)
        told.write_text("\n".join(lines) + "\n", encoding="utf-8")
        raise CellError(lines[-1]) from error
    finally:
        partial.unlink(missing_ok=True)
    failed.unlink(missing_ok=True)


def _last_lines(error: Exception) -> list[str]:
    """Return the end of a traceback; the last line is ``ErrorName: message``."""
    from papermill import PapermillExecutionError
    from papermill.exceptions import strip_color

    if isinstance(error, PapermillExecutionError):
        lines = strip_color("\n".join(error.traceback)).splitlines()
        name, message = error.ename, error.evalue
    else:
        lines = "".join(traceback.format_exception(error)).splitlines()
        name, message = type(error).__name__, str(error)
    if name == "DeadKernelError":
        message += " (out of memory, or stopped from outside)"
    return [*lines[-LINES:], f"{name}: {' '.join(message.split())}"]


def last_line(folder: Path) -> str:
    """Return what the cell in ``folder`` failed with; empty when it did not."""
    try:
        return (folder / ERROR).read_text(encoding="utf-8").rstrip().rpartition("\n")[2]
    except FileNotFoundError:
        return ""


@contextmanager
def claim_gpu(count: int, folder: Path | None = None) -> Iterator[str | None]:
    """Hold one of the first ``count`` GPUs of this machine, and give its name.

    Waits until one is free. Processes started inside see that one alone, as ``cuda:0``. With a
    count of 0 nothing is claimed, and None given.

    Args:
        folder: of the locks; by default one for this user on this machine, so that batches of
            different stores share the GPUs, too. The system lets go of a killed process's lock.
    """
    if count == 0:
        yield None
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = (visible.split(",") if visible else [str(i) for i in range(count)])[:count]
    folder = folder or Path(tempfile.gettempdir()) / f"itm-gpus-{getpass.getuser()}"
    folder.mkdir(parents=True, exist_ok=True)
    locks = {name: FileLock(folder / f"{name}.lock", timeout=0) for name in names}
    while (name := _first_free(locks)) is None:
        time.sleep(0.2)
    try:
        with environment_set({"CUDA_VISIBLE_DEVICES": name}):
            yield name
    finally:
        locks[name].release()


def _first_free(locks: Mapping[str, FileLock]) -> str | None:
    """Return the name of the first lock that could be taken; None when all are held."""
    for name, lock in locks.items():
        try:
            lock.acquire()
        except Timeout:
            continue
        return name
    return None


@contextmanager
def environment_set(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for what is started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one cell of the JSON that `planning` has written; return 0, or 1 when it failed."""
    parser = argparse.ArgumentParser(prog="python -m itm_book.batch.experiment")
    parser.add_argument("cells", type=Path)
    parser.add_argument("run", help="its folder below the run store")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    batch = read_json(given.cells)
    try:
        run_cell(
            Path(batch["notebook"]),
            Path(batch["root"], given.run),
            batch["cells"][given.run],
            threads=given.threads,
            gpus=batch["gpus"],
        )
    except CellError as error:
        print(f"{given.run}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
