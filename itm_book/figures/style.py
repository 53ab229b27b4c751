"""How every figure of the book looks: one card, one palette, one colour per method."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

CARD = "#fcfcfa"  # figures keep their own light card, so that they read on a dark page too
INK = "#22262b"
FAINT = "#8a9199"
RIGHT = "#0b7a53"
ACCENT = "#e8a200"
STROKES = ("-", "--", ":", "-.")  # tell lines of one colour apart

# Okabe and Ito's colours, safe for colour-blind readers; a method keeps its own everywhere.
# The first name that a text starts with decides, so the longer ones stand first.
METHODS = {
    "scan-t2i": "#0072b2",
    "SCAN t2i": "#0072b2",
    "t2i RCAR": "#009e73",
    "t2i": "#0072b2",
    "scan-i2t": "#d55e00",
    "SCAN i2t": "#d55e00",
    "i2t": "#d55e00",
    "rcar": "#009e73",
    "rcr": "#009e73",
    "rar": "#009e73",
    "imram": "#7a6a4f",
    "RCAR": "#009e73",
    "regulators": "#009e73",
    "CHAN": "#cc79a7",
    "chan": "#cc79a7",
    "hard": "#cc79a7",
    "soft": "#0072b2",
    "BFAN": "#56b4e9",
    "bfan": "#56b4e9",
    "PFAN": "#e69f00",
    "pfan": "#e69f00",
    "SAF": "#8c6bb1",
    "saf": "#8c6bb1",
    "SGRAF": "#8c6bb1",
    "SGR": "#54278f",
    "sgr": "#54278f",
}
OTHERS = ("#7a6a4f", "#5b6770", "#a0522d", "#2f4b3c", "#000000")

_SETTINGS: dict[Any, Any] = {
    "figure.dpi": 150,
    "figure.facecolor": CARD,
    "axes.facecolor": CARD,
    "savefig.facecolor": CARD,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.labelsize": 10,
    "font.size": 10,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "figure.constrained_layout.use": True,
}


def colour_of(method: str, place: int = 0) -> str:
    """Return the colour of a method; unknown ones take one of the others by ``place``."""
    known = (colour for name, colour in METHODS.items() if method.startswith(name))
    return next(known, OTHERS[place % len(OTHERS)])


def colours_of(methods: Sequence[str]) -> list[str]:
    """Return a colour for each method, its plug-in's own if it has one, and never one twice."""
    found: list[str] = []
    for place, method in enumerate(methods):
        colour = colour_of(method.split("+")[-1].strip(), place)
        found.append(OTHERS[place] if colour in found else colour)
    return found


def colour_of_row(row: Mapping[Hashable, Any], groups: Sequence[Any]) -> str:
    """Return the colour of a row of a table: its method's own, else that of its group."""
    name, group = str(row["name"]), row.get("group", "")
    if any(name.startswith(method) for method in METHODS):
        return colour_of(name)
    return colour_of(str(group), list(groups).index(group))


@contextmanager
def styled() -> Iterator[None]:
    """Draw with the book's style, and leave matplotlib's settings as they were."""
    with mpl.rc_context(_SETTINGS):
        yield


def finished(figure: Figure) -> Figure:
    """Return a figure that a notebook shows once, when it is a cell's last value."""
    plt.close(figure)
    return figure
