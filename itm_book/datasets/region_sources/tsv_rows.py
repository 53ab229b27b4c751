"""One row of a .tsv of region features: its columns, and the arrays in base64.

=======================  ===========================================================================
bottom-up attention      ``image_id, image_w, image_h, num_boxes, boxes, features``; some tools
                         write ``cls_prob`` after them
LXMERT                   ``img_id, img_h, img_w, objects_id, objects_conf, attrs_id, attrs_conf,
                         num_boxes, boxes, features``
VinVL, ``features.tsv``  ``image_id, num_boxes, features``
Oscar, VinVL             ``image_id``, and JSON: ``{"num_boxes", "features"}``; or ``{"image_h",
                         "image_w", "objects": [{"rect", "feature"}]}``, or the list of objects
                         alone; or ``[{"height", "width"}]``
=======================  ===========================================================================

Boxes and features are float32. A header line names the columns, in any order.

Page: "Which files does it read?".
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itm_book.datasets.region_sources.record import pixels, size_of

BUTD = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
LXMERT = (
    *("image_id", "image_h", "image_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf"),
    *("num_boxes", "boxes", "features"),
)
VINVL, JSON = ("image_id", "num_boxes", "features"), ("image_id", "json")
COLUMNS: dict[int, tuple[str, ...]] = {
    len(columns): columns for columns in (BUTD, (*BUTD, "cls_prob"), LXMERT, VINVL, JSON)
}
SAME = {"img_id": "image_id", "img_w": "image_w", "img_h": "image_h", "bbox": "boxes"}


@dataclass(frozen=True, eq=False)
class Parts:
    """What a row says of its image: any of features, boxes, and width and height."""

    features: np.ndarray | None = None
    boxes: np.ndarray | None = None
    size: tuple[int, int] | None = None


def header(cells: Sequence[bytes]) -> tuple[str, ...] | None:
    """Return the names of the columns where a line holds them, else None.

    >>> header([b"img_id", b"num_boxes", b"features"])
    ('image_id', 'num_boxes', 'features')
    """
    if not all(len(cell) < 64 for cell in cells):
        return None
    names = [cell.decode(errors="replace").strip().lower() for cell in cells]
    names = [SAME.get(name, name) for name in names]
    return tuple(names) if {"image_id", "features"} <= set(names) else None


def read_row(cells: Sequence[bytes], columns: Sequence[str] | None) -> Parts:
    """Return the parts of a row; raises ValueError for one that is damaged or of another form.

    Args:
        cells: between tabs, without the end of the line.
        columns: their names; None: those of a release with as many columns.
    """
    names = columns or COLUMNS.get(len(cells), ())
    if len(cells) != len(names):
        raise ValueError(f"{len(cells)} columns")
    values = {name: _plain(cell) for name, cell in zip(names, cells, strict=True)}
    if "json" in values:
        return _of_json(json.loads(values["json"]))
    count = int(values["num_boxes"])
    boxes = _floats(values["boxes"], count) if "boxes" in values else None
    return Parts(_floats(values["features"], count), boxes, size_of(values))


def _plain(cell: bytes) -> bytes:
    """Return a cell without quotes: ``b'...'``, as Python 3 writes bytes, or those of csv."""
    if cell[:2] == b"b'" and cell[-1:] == b"'":
        return cell[2:-1]
    if len(cell) > 1 and cell[:1] == cell[-1:] == b'"':
        return cell[1:-1].replace(b'""', b'"')
    return cell


def _floats(cell: bytes | str, count: int) -> np.ndarray:
    """Return ``[count, n]`` float32, coded in base64."""
    return np.frombuffer(base64.b64decode(cell, validate=True), "<f4").reshape(count, -1)


def _of_json(content: Any) -> Parts:
    if isinstance(content, dict) and "features" in content:
        return Parts(_floats(content["features"], int(content["num_boxes"])))
    if isinstance(content, list) and content and "height" in content[0]:
        return Parts(size=(pixels(content[0]["width"]), pixels(content[0]["height"])))
    objects = content["objects"] if isinstance(content, dict) else content
    if not isinstance(objects, list):
        raise ValueError("JSON without features, objects or sizes")
    features = None
    if objects and all("feature" in thing for thing in objects):
        features = np.concatenate([_floats(thing["feature"], 1) for thing in objects])
    boxes = np.array([thing["rect"] for thing in objects], np.float32).reshape(-1, 4)
    return Parts(features, boxes, size_of(content) if isinstance(content, dict) else None)


FAILURES: tuple[type[Exception], ...] = (  # of `read_row`, for any bytes
    *(ValueError, binascii.Error, KeyError, TypeError, AttributeError, RecursionError),
    OverflowError,
)


def reason(error: Exception) -> str:
    """Return why a row cannot be read, in a few words."""
    return f"no {error}" if isinstance(error, KeyError) else str(error)[:200]
