"""Labels of dots: each beside its dot, none over another."""

from __future__ import annotations

from itertools import combinations

import pytest
from matplotlib import pyplot as plt
from matplotlib.transforms import Bbox

from itm_book.figures.dot_labels import Dot, label_dots
from itm_book.figures.style import finished, styled

CROWD = [Dot(1 + 0.02 * k, 1 + 0.01 * (k % 3), f"method {k}") for k in range(9)]


@pytest.mark.parametrize("dots", [CROWD, CROWD[:1], [], [Dot(0.0, 0.0, "left"), Dot(2, 2, "top")]])
def test_labels_overlap_neither_each_other_nor_a_dot_nor_the_edge(dots: list[Dot]) -> None:
    with styled():
        figure, axes = plt.subplots(figsize=(6, 4))
        axes.plot([dot.x for dot in dots] or [0], [dot.y for dot in dots] or [0], "o", ms=6)
        axes.margins(0.3)
        label_dots(axes, dots)
        finished(figure)
    figure.canvas.draw()
    texts = [text for text in axes.texts if text.get_text()]
    assert [text.get_text() for text in texts] == [dot.label for dot in dots]
    boxes = [text.get_window_extent() for text in texts]
    frame = axes.get_window_extent()
    assert not any(Bbox.intersection(a, b) for a, b in combinations(boxes, 2))
    for x, y in axes.transData.transform([(dot.x, dot.y) for dot in dots]) if dots else []:
        assert not any(box.contains(x, y) for box in boxes)
    for box in boxes:
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1


def test_labels_cover_no_bar() -> None:
    bars = [(dot.x, dot.y - 0.004, dot.y + 0.004) for dot in CROWD]
    with styled():
        figure, axes = plt.subplots(figsize=(6, 4))
        for x, low, high in bars:
            axes.plot([x, x], [low, high])
        axes.margins(0.5)
        label_dots(axes, CROWD, bars=bars)
        finished(figure)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    for x, low, high in bars:
        line = Bbox(axes.transData.transform([(x, low), (x, high)]))
        assert not any(
            box.x0 < line.x0 < box.x1 and box.y0 < line.y1 and line.y0 < box.y1 for box in boxes
        )
