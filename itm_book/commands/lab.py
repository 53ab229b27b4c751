"""``itm lab``: JupyterLab on the notebooks."""

from __future__ import annotations

import argparse
import os
import sys

from itm_core.command_parser import Commands, add_command

FIRST = "notebooks/first_match.ipynb"


def add(commands: Commands) -> None:
    """Add ``lab`` to the commands."""
    command = add_command(
        commands,
        "lab",
        "open JupyterLab on the notebooks",
        _lab,
        "itm lab",
        "itm lab -- --no-browser --port=9000",
        group="read and record",
    )
    command.add_argument(
        "options", nargs="*", metavar="OPTION", help="of `jupyter lab`, after two dashes"
    )


def _lab(options: argparse.Namespace) -> int:
    from itm_book.pages.clean_notebooks import after_save, keep_outputs_out
    from itm_book.pages.clone import find_root
    from itm_core.cli import PACE
    from itm_core.extras import require

    require("itm lab", "jupyterlab", "nbstripout")
    root = find_root()
    keep_outputs_out(root)
    os.chdir(root)  # the root of the server, so that links of notebooks to pages work
    os.environ.pop(PACE, None)  # the bars of notebooks are not a log
    words = [f"--FileContentsManager.post_save_hook={after_save.__module__}.after_save"]
    words += ["--ServerApp.root_dir=.", f"--LabApp.default_url=/lab/tree/{FIRST}"]
    words += ["--allow-root"] if hasattr(os, "getuid") and os.getuid() == 0 else []
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *words, *options.options])
