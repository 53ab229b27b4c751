"""Jupyter Book's command, with Sphinx reading and writing pages in a process for each core.

``python -m itm_book.pages.book_program build ...`` is what a build of the book starts. Jupyter
Book's command itself has no option for the number of processes.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from jupyter_book import sphinx as jupyter_book_sphinx
from jupyter_book.cli.main import main
from sphinx.application import Sphinx

from itm_core.parallel import cores, end_with_parent

PACKAGES = ("itm_core", "itm_book")
SECONDS = 0.5  # between two looks at whether the parent runs


class ParallelSphinx(Sphinx):
    """Sphinx in a process for each core.

    An extension that does not say whether pages may be read in several processes is taken to be
    safe, where Sphinx would warn and use one: of those used here that is the numbering over
    several tables of contents, which is switched off.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "parallel": cores()})
        self.connect("env-updated", without_foreign_listings)

    def setup_extension(self, extname: str) -> None:
        """Load an extension of Sphinx."""
        super().setup_extension(extname)
        extension = self.extensions.get(extname)
        if extension is not None and extension.parallel_read_safe is None:
            extension.parallel_read_safe = True


def without_foreign_listings(_: Sphinx, env: Any) -> None:
    """Leave out the listings of code of other packages.

    Which ones Sphinx finds (functools) depends on the number of its processes.
    """
    for module in env._viewcode_modules:
        if module.partition(".")[0] not in PACKAGES:
            env._viewcode_modules[module] = False


def end_forks_with_parent() -> None:
    """Let every process that is forked from this one end when its parent has ended.

    A fork has no other thread of its parent, so not that of `end_with_parent` either.
    """
    os.register_at_fork(after_in_child=_follow)


def _follow() -> None:
    threading.Thread(target=_end_after, args=(os.getppid(),), daemon=True).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS)
    os._exit(1)


if __name__ == "__main__":
    end_with_parent()
    end_forks_with_parent()
    jupyter_book_sphinx.Sphinx = ParallelSphinx
    main()
