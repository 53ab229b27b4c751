"""What a box of a region or an object must be: pixels, in order, inside its picture.

Page: "How to use it three ways".
"""

from __future__ import annotations

from typing import Any

import numpy as np

LARGEST_SHARE = 1.5  # of a side; detectors exceed their picture a little, and pixels start above
OUTSIDE = 1.0  # pixels that a box may exceed its picture by on each side, as detectors round
WRONG_BOX = "is no box, or leaves its picture"
SHARES = "boxes are shares of the picture"
IN_PIXELS = "x1, y1, x2, y2 in pixels"
TO_PIXELS = "multiply them by the width and the height"


def are_shares(boxes: np.ndarray, sizes: Any = None) -> bool:
    """Return whether boxes are fractions of their pictures, not pixels.

    Whole numbers are pixels where the sizes are unknown.

    Args:
        boxes: ``[..., 4]``, at least one.
        sizes: ``[..., 2]`` width and height; None where they are unknown.

    >>> are_shares(np.array([[0, 0.2, 0.5, 1]])), are_shares(np.array([[0, 0, 1, 1]]), [1, 1])
    (True, False)
    >>> are_shares(np.array([[0.0, 0, 1, 1]]))
    False
    """
    if not 0 < np.max(boxes) <= LARGEST_SHARE:
        return False
    return bool(np.any(boxes % 1) if sizes is None else np.min(sizes) > LARGEST_SHARE)


def wrong_boxes(boxes: np.ndarray, sizes: Any = None) -> np.ndarray:
    """Return which boxes ``[..., R, 4]`` are not finite, not ordered or outside their picture.

    A box without area is right: such boxes fill up regions that an image does not have.

    Args:
        sizes: ``[..., 2]`` width and height; None where they are unknown.

    >>> wrong_boxes(np.array([[0, 0, 9, 9], [-5, 0, 9, 9], [3, 3, 2, 9]]), np.array([9, 9]))
    array([False,  True,  True])
    """
    corners = np.asarray(boxes, np.float64)
    first, last = corners[..., :2], corners[..., 2:]
    right = (first >= -OUTSIDE) & (first <= last) & np.isfinite(last)
    if sizes is not None:
        right &= last <= np.asarray(sizes, np.float64)[..., None, :] + OUTSIDE
    return np.asarray(~right.all(-1))


def box_rule(size: Any = None) -> str:
    """Return what a box must be, for messages; ``size`` is width and height of its picture."""
    width, height = ("width", "height") if size is None else (f"{float(side):g}" for side in size)
    corners = f"0 <= x1 <= x2 <= {width} and 0 <= y1 <= y2 <= {height} in pixels"
    return f"{corners}, {OUTSIDE:g} more on each side for rounding"
