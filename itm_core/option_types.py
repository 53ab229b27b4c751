"""Types of the numbers and paths that commands take: the parser refuses what none can mean."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from itm_core.errors import escaped

SEEDS = 2**32  # numpy's generators take smaller seeds; torch's take them too
LARGEST = 10**9


def whole(least: int = 1, most: int = LARGEST) -> Callable[[str], int]:
    """Return the type of an option that takes a whole number in a range.

    >>> whole(least=0)("12")
    12
    """

    def read(text: str) -> int:
        """Return the number; raises argparse's error for any other text."""
        number = int(text) if re.fullmatch("-?[0-9]{1,20}", text) else None
        if number is None or not least <= number <= most:
            above = most == LARGEST and (number is None or number < least)
            span = f", {least} or more" if above else f" from {least} to {most}"
            raise _refused(f"a whole number{span}", text)
        return number

    return read


def fraction(text: str) -> float:
    """Return a number above 0 and at most 1; raises argparse's error for any other text."""
    number = float(text) if re.fullmatch(r"[0-9]{0,20}\.?[0-9]{1,20}", text) else 0.0
    if not 0 < number <= 1:
        raise _refused("a number above 0, at most 1", text)
    return number


def path(text: str) -> Path:
    """Return a path; raises argparse's error for an empty one, which would be this folder.

    One with control characters or bytes that are no UTF-8 cannot be written into records and pages.
    """
    if not text.strip() or re.search("[\0-\x1f\x7f-\x9f\ud800-\udfff]", text):
        raise _refused("the name of a file or folder", text)
    return Path(text)


def _refused(expected: str, text: str) -> ArgumentTypeError:
    shown = escaped(text if len(text) <= 40 else f"{text[:40]}...")
    return ArgumentTypeError(f"expected {expected}, found '{shown}'")


seed = whole(0, SEEDS - 1)
workers = whole(most=10_000)  # jobs at once, also on a cluster
threads = processes = whole(most=1024)  # of one machine
