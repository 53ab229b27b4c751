"""Executing a notebook with parameters: `run_notebook`, for cells of a grid and for the book.

The parameters are checked before the kernel starts. The executed notebook is written whole or not
at all; one that fails leaves its cells up to the error, with the traceback, in a file beside it.

Nothing here imports torch: a batch starts a process that uses this for every cell.

Page: "Batches".
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itm_book.batch.parameters import assigned, check_values
from itm_core.errors import InputError
from itm_core.files import make_folder, put, reading, space_checked
from itm_core.training.launch import THREADS

if TYPE_CHECKING:
    import nbformat

KERNEL = "python3"
WIDGET = "application/vnd.jupyter.widget-view+json"
START_SECONDS = 300  # for a kernel to start: minutes when a cluster reads from a cold disk
STARTS = 3  # of a kernel that dies before it answers
NOT_STARTED = "before replying to kernel_info"  # jupyter_client's words for that
TRACE_LINES = 20  # of the traceback that a `NotebookError` keeps


class NotebookError(InputError):
    """A notebook failed: says which one, with what error, and where the traceback is.

    Attributes:
        trace: the end of the traceback; the last line is ``ErrorName: message``.
    """

    trace: tuple[str, ...] = ()


def run_notebook(
    source: Path, place: Path, parameters: Mapping[str, Any], *, threads: int = 1
) -> None:
    """Write the executed notebook to ``place``.

    Args:
        source: the notebook; it is executed in its own folder.
        place: where the executed notebook goes. One that fails goes to `failed_place` instead,
            and a notebook that is already at ``place`` stays.
        parameters: values for the cell tagged ``parameters``.
        threads: number of threads that the kernel's numerical libraries may use.

    Raises `InputError` as `check_parameters` does, and `NotebookError` when the notebook fails.
    """
    check_parameters(source, parameters)
    make_folder(place.parent)
    partial, failed = place.with_name(f".{place.stem}.partial.ipynb"), failed_place(place)
    failed.unlink(missing_ok=True)
    try:
        with space_checked(partial), environment_set(dict.fromkeys(THREADS, str(threads))):
            _execute(source, partial, parameters)
            _without_widgets(partial)
            put(partial, place)
    except Exception as error:
        if partial.exists():
            partial.replace(failed)
        raise _notebook_error(error, source, failed) from error
    finally:
        partial.unlink(missing_ok=True)


def _execute(source: Path, place: Path, parameters: Mapping[str, Any]) -> None:
    """Execute a notebook; a kernel that ends before it has run anything is started again.

    Another process may have taken the port that a kernel was given before it listens.
    """
    import papermill

    for left in reversed(range(STARTS)):
        try:
            papermill.execute_notebook(
                str(source),
                str(place),
                dict(parameters),
                kernel_name=KERNEL,
                cwd=str(source.parent),
                progress_bar=False,
                start_timeout=START_SECONDS,
                # no warning about local ports, and none of the interrupt that ends a kernel
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            )
        except RuntimeError as error:
            if NOT_STARTED not in str(error) or not left:
                raise
        else:
            return


def _without_widgets(path: Path) -> None:
    """Remove widgets, such as progress bars: without their kernel they show nothing."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
    nbformat.write(notebook, path)


def failed_place(place: Path) -> Path:
    """Return where a notebook goes that failed: ``<name>.failed.ipynb`` beside ``place``."""
    return place.with_name(f"{place.stem}.failed.ipynb")


def _notebook_error(error: Exception, source: Path, failed: Path) -> NotebookError:
    from papermill import PapermillExecutionError
    from papermill.exceptions import strip_color

    if isinstance(error, PapermillExecutionError):
        lines = strip_color("\n".join(error.traceback)).splitlines()
        name, message = error.ename, error.evalue
        subject = f"cell {error.cell_index + 1}"
    else:
        lines = "".join(traceback.format_exception(error)).splitlines()
        name, message, subject = type(error).__name__, str(error), "the notebook"
    remedy = f"see the traceback in {failed}" if failed.exists() else None
    if name == "DeadKernelError":
        message += " (most likely out of memory)"
        remedy = "end other programs, or run the same command with fewer --workers"
    summary = f"{name}: {' '.join(message.split())}"
    notebook_error = NotebookError(f"{subject} failed with {summary}", file=source, remedy=remedy)
    notebook_error.trace = (*lines[-TRACE_LINES:], summary)
    return notebook_error


def check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Raise `InputError` when a notebook is missing, lacks a parameter, or has another type of it.

    The type is that of the value which the cell tagged ``parameters`` assigns; see `parameters`.
    """
    cells = read_notebook(notebook).cells
    tagged = (c.source for c in cells if "parameters" in c.metadata.get("tags", []))
    check_values(assigned(next(tagged, "")), parameters, notebook)


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Return a notebook; raises `InputError` when it is missing or not a notebook."""
    import nbformat

    try:
        with reading(path, "notebook not found"):
            return nbformat.read(path, as_version=4)
    except (ValueError, KeyError, AttributeError, TypeError, AssertionError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).partition("\n")[0]
        raise InputError("not readable as a notebook", file=path, found=reason) from None


@contextmanager
def environment_set(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables inside the block; processes started there inherit them."""
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
