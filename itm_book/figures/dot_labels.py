"""Labels of the dots of a chart, placed so that they do not overlap.

Page: every chapter with a chart of costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from itm_book.figures.style import FAINT, INK

Bar = tuple[float, float, float]  # x, lower and upper end of a vertical line of the chart
Box = tuple[float, float, float, float]  # left, bottom, right, top, in pixels

DOT = 3.5  # points from the centre of a dot to its edge
HALF_BAR = 1.5  # points from the middle of a bar that are kept free
REACHES = (6, 14, 24, 36, 50)  # points from a dot to its label, the nearest first
SIDES = ((1, 0.6), (-1, 0.6), (1, -0.6), (-1, -0.6), (0, 1), (0, -1), (1, 0), (-1, 0))


class Dot(NamedTuple):
    """A dot in the coordinates of the data, and its label."""

    x: float
    y: float
    label: str


def label_dots(
    axes: Axes, dots: Sequence[Dot], *, bars: Sequence[Bar] = (), size: float = 8.5
) -> None:
    """Write the label of each dot beside it, where it covers no dot, bar, other label or edge.

    ``bars`` are vertical lines in the coordinates of the data, such as intervals. Where there is
    no such place near a dot, the label is further away, with a line to its dot. Labels are placed
    in the order of ``dots``. The layout of the figure is final afterwards.
    """
    figure = axes.figure
    assert isinstance(figure, Figure)  # no part of a larger one
    figure.canvas.draw()
    figure.set_layout_engine("none")  # labels were placed in the axes as they are now
    pixels, frame = figure.dpi / 72, axes.get_window_extent()
    points = np.array([(dot.x, dot.y) for dot in dots]).reshape(-1, 2)
    centres = axes.transData.transform(points)
    taken = [_around(x, y, DOT * pixels, DOT * pixels) for x, y in centres]
    for across, low, high in bars:
        (x, bottom), (_, top) = axes.transData.transform([(across, low), (across, high)])
        taken.append(_around(x, (bottom + top) / 2, HALF_BAR * pixels, (top - bottom) / 2))
    for dot, (x, y) in zip(dots, centres, strict=True):
        text = axes.annotate(
            dot.label, (dot.x, dot.y), xytext=(0, 0), textcoords="offset points",
            fontsize=size, ha="center", va="center", color=INK,
        )  # fmt: skip
        extent = text.get_window_extent()
        half = extent.width / 2, extent.height / 2
        places = list(_places(half, pixels))
        boxes = [_around(x + dx, y + dy, *half) for dx, dy, _ in places]
        best = int(_covered(np.array(boxes), np.array(taken), np.array(frame.extents)).argmin())
        dx, dy, reach = places[best]
        text.set_position((dx / pixels, dy / pixels))
        taken.append(boxes[best])
        if reach > REACHES[0]:
            axes.annotate(
                "", (dot.x, dot.y), xytext=(dx / pixels, dy / pixels), textcoords="offset points",
                arrowprops={"arrowstyle": "-", "lw": 0.8, "color": FAINT, "shrinkA": 6}, zorder=0,
            )  # fmt: skip


def _places(half: tuple[float, float], pixels: float) -> Iterator[tuple[float, float, float]]:
    """Yield offsets of a label's centre from its dot in pixels, and the gap between them."""
    for reach in REACHES:
        for across, up in SIDES:
            dx = across * (reach * pixels + half[0])
            yield dx, up * (reach * pixels + half[1]), reach


def _around(x: float, y: float, wide: float, tall: float) -> Box:
    return x - wide, y - tall, x + wide, y + tall


def _covered(boxes: np.ndarray, taken: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return the area of each box ``[B, 4]`` over others ``[T, 4]`` or outside of the frame."""
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return area - _shared(boxes, frame[None])[:, 0] + _shared(boxes, taken).sum(1)


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the area that each box shares with each other one, ``[B, O]``."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.prod((high - low).clip(0), axis=2)
