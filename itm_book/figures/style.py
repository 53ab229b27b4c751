"""Style of the figures of the book: background, palette, and one colour per method."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

CARD = "#fcfcfa"  # a light background, also on a dark page
INK = "#22262b"
FAINT = "#8a9199"
RIGHT = "#0b7a53"
ACCENT = "#e8a200"
STROKES = ("-", "--", ":", "-.")  # for lines of the same colour

# Attention weights, in pictures and in matrices: dark without weight, bright with the largest. In a
# picture `VEIL` covers what is not attended to; what is attended to keeps its own colours.
VEIL = "#0b0f12"
MAX_VEIL = 0.78  # opacity of the veil over a region without weight
WEIGHTS = LinearSegmentedColormap.from_list(
    "weights", ["#1c2429", "#4a4a40", "#94701d", ACCENT, "#ffe9ad"]
)

# Okabe and Ito's colours, safe for colour-blind readers; the same for a method in all figures.
# The first matching prefix is used, so longer ones come first.
METHODS = {
    "scan-t2i": "#0072b2",
    "SCAN t2i": "#0072b2",
    "base": "#5b6770",
    "RCAR": "#009e73",
    "RCR": "#009e73",
    "RAR": "#009e73",
    "t2i": "#0072b2",
    "scan-i2t": "#d55e00",
    "SCAN i2t": "#d55e00",
    "i2t": "#d55e00",
    "rcar": "#009e73",
    "rcr": "#009e73",
    "rar": "#009e73",
    "imram": "#7a6a4f",
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
    """Return the colour of a method; of an unknown one, another colour by ``place``."""
    matches = (colour for name, colour in METHODS.items() if method.startswith(name))
    return next(matches, OTHERS[place % len(OTHERS)])


def colours_of(methods: Sequence[str]) -> list[str]:
    """Return different colours for methods, that of the plug-in for a method with one."""
    colours: list[str] = []
    for place, method in enumerate(methods):
        colour = colour_of(method.split("+")[-1].strip(), place)
        colours.append(OTHERS[place % len(OTHERS)] if colour in colours else colour)
    return colours


def colour_of_row(row: Mapping[Hashable, Any], groups: Sequence[Any]) -> str:
    """Return the colour of a row of a table: that of its method, else of its group."""
    name, group = str(row["name"]), row.get("group", "")
    if any(name.startswith(method) for method in METHODS):
        return colour_of(name)
    return colour_of(str(group), list(groups).index(group))


@contextmanager
def styled() -> Iterator[None]:
    """A context with the book's style; restores matplotlib's settings."""
    with mpl.rc_context(_SETTINGS):
        yield


def finished(figure: Figure) -> Figure:
    """Return the figure, closed, so that a notebook shows it only as a cell's value."""
    plt.close(figure)
    return figure
