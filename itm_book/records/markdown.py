"""Text of any origin in Markdown: it is shown as it is, and is never markup.

Page: "Versions, devices, durations"; the cards of shipped matchers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MARKUP = re.compile(r"[\\`*_{}\[\]#|$~<>&^]")


def inert(text: object) -> str:
    """Return text on one line whose punctuation is no markup of Markdown, MyST or HTML.

    >>> inert("<b>|{{x}}")
    '&#60;b&#62;&#124;&#123;&#123;x&#125;&#125;'
    """
    line = " ".join(str(text).encode("utf-8", "replace").decode().split())
    return MARKUP.sub(lambda sign: f"&#{ord(sign[0])};", line)


def code(text: object) -> str:
    """Return text on one line as a span of code, also for the cell of a table.

    >>> code("a`|b")
    '``a`\\\\|b``'
    """
    line = " ".join(str(text).encode("utf-8", "replace").decode().split()) or "-"
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if "`" in (line[0], line[-1]) else ""
    # an escape in a cell is read before the spans of code
    return f"{fence}{space}{line.replace('|', chr(92) + '|')}{space}{fence}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown, as `inert` and `code` return it."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
