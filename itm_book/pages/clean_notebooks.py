"""Notebooks that can be run without changing what git sees: a filter of this clone alone.

Git passes a notebook through nbstripout before it compares or commits it, so outputs and numbers of
executions are no change. ``.gitattributes`` names the filter; what it runs is in the configuration
of the clone, which `keep_outputs_out` writes. Where that was never called, or the environment has
been removed, git takes notebooks as they are.

``git status`` calls a file modified when its size is not what git noted, without asking a filter.
So JupyterLab calls `after_save`, after which git notes the new size.

Page: "How to use it three ways".
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from itm_book.shipped import CLONE

FILTER = "itm-notebooks"  # as in .gitattributes
# git starts it for each notebook, and nbformat takes three seconds to read the grammar of web
# addresses in foreign scripts, which jsonschema takes if it is there
STRIP = (
    "import runpy, sys; sys.modules['rfc3987_syntax'] = None; "
    "runpy.run_module('nbstripout', run_name='__main__')"
)
# what JupyterLab notes of the kernel, besides nbstripout's own list
OF_KERNELS = " ".join(
    f"metadata.language_info.{key}"
    for key in (
        *("codemirror_mode", "file_extension", "mimetype", "nbconvert_exporter"),
        *("pygments_lexer", "version"),
    )
)


def keep_outputs_out(root: Path) -> bool:
    """Let git ignore the outputs of notebooks in a clone, and return whether it does.

    False without git, and where the folder is not the top of a clone, as that of an archive.
    Neither the user's configuration of git nor that of another repository is changed.
    """
    try:
        if Path(_git(root, "rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return False
        _git(root, "config", "--local", f"filter.{FILTER}.clean", command())
        _git(root, "config", "--local", f"filter.{FILTER}.required", "false")
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def program(python: str = sys.executable) -> list[str]:
    """Return the program that strips a notebook, from standard input to standard output."""
    return [python, "-c", STRIP, "--keep-id", "--extra-keys", OF_KERNELS]


def command(python: str = sys.executable) -> str:
    """Return the shell command of the filter, which passes notebooks on without ``python``."""
    strip = " ".join(map(shlex.quote, program(python)))
    return f"if [ -x {shlex.quote(python)} ]; then {strip}; else cat; fi"


def after_save(os_path: str, model: dict[str, object], **_others: object) -> threading.Thread:
    """Start `note_size` for a notebook that JupyterLab has saved, and return its thread."""
    notebooks = [Path(os_path)] if model["type"] == "notebook" else []
    thread = threading.Thread(target=lambda: [*map(note_size, notebooks)], daemon=True)
    thread.start()
    return thread


def note_size(notebook: Path) -> None:
    """Let ``git status`` see that outputs alone were saved; what is a change stays one.

    Nothing is staged, and nothing is raised: without git, or while it is busy, nothing is done.
    """
    with suppress(OSError, subprocess.SubprocessError):  # a difference is an error of `diff`
        _git(notebook.parent, "diff", "--quiet", "--", notebook.name)
        _git(notebook.parent, "add", "--update", "--", notebook.name)


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=root, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


if __name__ == "__main__":
    keep_outputs_out(CLONE)
