"""One cell of a batch: the experiment notebook, executed into the folder of its run.

``python -m itm_book.batch.experiment CELLS.json RUN`` is what a batch starts for every cell, on
this machine or on a node of a cluster; `planning` writes the JSON. The notebook trains the run,
resumes it or loads it. A cell that fails leaves ``experiment.failed.ipynb`` and ``error.txt``.

Nothing here imports torch: a batch starts this once for every cell.

Page: "Batches".
"""

from __future__ import annotations

import argparse
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from itm_book.batch.notebook_runner import NotebookError, environment_set, run_notebook
from itm_core.errors import InputError, files_named
from itm_core.experiments.run_folder import ERROR
from itm_core.files import locked, make_folder
from itm_core.json_files import read_json
from itm_core.parallel import end_with_parent

NOTEBOOK = "experiment.ipynb"
IN_USE = "this GPU is in use"


def error_of(folder: Path) -> str:
    """Return the last line of a run's ``error.txt``; empty when there is no such file."""
    try:
        text = (folder / ERROR).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return type(error).__name__
    lines = [line.strip() for line in text.split("\n")]
    return next(filter(None, reversed(lines)), "no reason given")


def run_cell(
    notebook: Path,
    folder: Path,
    parameters: Mapping[str, Any],
    *,
    threads: int = 1,
    gpus: int = 0,
) -> Path:
    """Return the executed notebook of a cell; it is executed unless it exists.

    Args:
        notebook: the notebook to execute, in its own folder.
        folder: the folder of the run.
        parameters: parameters of the notebook.
        threads: number of threads that its libraries may use.
        gpus: number of GPUs of this machine that the cells share, one to each. 0 when no GPU is to
            be claimed, or the scheduler of a cluster has assigned one.

    Waits while another process runs the same cell. Raises `NotebookError` when the notebook fails,
    after writing the end of its traceback to ``error.txt``.
    """
    make_folder(folder)
    executed, error_file = folder / NOTEBOOK, folder / ERROR
    with locked(folder / ".cell.lock"):
        if not executed.exists():
            # A kernel outlives a killed batch by about a second, and `itm train` may be training
            # this run: wait for the lock of the run (runs.py), then resume from the checkpoint.
            with locked(folder / ".lock"):
                pass
            error_file.unlink(missing_ok=True)
            try:
                with claim_gpu(gpus):
                    run_notebook(notebook, executed, parameters, threads=threads)
            except InputError as error:
                trace = error.trace if isinstance(error, NotebookError) else [f"Error: {error}"]
                error_file.write_text("\n".join(trace) + "\n", encoding="utf-8")
                raise
    return executed


@contextmanager
def claim_gpu(count: int, folder: Path | None = None) -> Iterator[str | None]:
    """Hold one of the first ``count`` GPUs of this machine, and give its name.

    Waits until one is free. Processes started in the block see that GPU alone, as ``cuda:0``. With
    a count of 0 nothing is claimed, and the name is None.

    Args:
        folder: the folder of the locks; by default one for this user on this machine, so that
            batches of different stores share the GPUs too. The lock of a killed process is
            released by the operating system.
    """
    if count == 0:
        yield None
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = (visible.split(",") if visible else [str(i) for i in range(count)])[:count]
    folder = folder or _private_folder()
    with ExitStack() as held:
        while (name := _first_free(names, folder, held)) is None:
            time.sleep(0.2)
        with environment_set({"CUDA_VISIBLE_DEVICES": name}):
            yield name


def _private_folder() -> Path:
    """Return the folder of the locks of this user's GPUs, which no other user may write to.

    Its name can be foreseen where everyone may write. So `InputError` is raised for a folder there
    that another user owns or may change, and for a link.
    """
    folder = Path(tempfile.gettempdir()) / f"itm-gpus-{os.getuid()}"
    with files_named(folder, "written"):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
    ours = status.st_uid == os.getuid() and not status.st_mode & 0o022
    if not stat.S_ISDIR(status.st_mode) or not ours:
        raise InputError(
            "not a folder of this user alone",
            file=folder,
            expected="a folder of mode 0700, or none",
            remedy="remove it, or name another temporary folder with TMPDIR",
        )
    return folder


def _first_free(names: Sequence[str], folder: Path, held: ExitStack) -> str | None:
    """Return the name of the first GPU whose lock could be acquired; None when all are in use."""
    for name in names:
        try:
            file = f"{quote(name, safe='')}.lock"
            held.enter_context(locked(folder / file, IN_USE))
        except InputError as error:
            if error.problem != IN_USE:
                raise
            continue
        return name
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one cell of the JSON that `planning` wrote; return 0, or 1 when it failed."""
    end_with_parent()
    parser = argparse.ArgumentParser(prog="python -m itm_book.batch.experiment")
    parser.add_argument("cells", type=Path)
    parser.add_argument("run", help="its folder below the run store")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    batch = read_json(options.cells)
    try:
        run_cell(
            Path(batch["notebook"]),
            Path(batch["root"], options.run),
            batch["cells"][options.run],
            threads=options.threads,
            gpus=batch["gpus"],
        )
    except InputError as error:
        print(f"{options.run}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
