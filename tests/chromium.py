"""Where the tests find a Chromium, and how they start it: as ``itm book --pdf`` does."""

from __future__ import annotations

from itm_book.pages import pdf
from itm_core.errors import InputError

FLAGS = list(pdf.FLAGS)


def find_chromium() -> str | None:
    """Return the path of a Chromium on this machine, if there is one."""
    try:
        return pdf.find_chromium()
    except InputError:
        return None
