"""Interactive explorer of the attention of one pair, for pages without a kernel.

Data and code are in the page, so it works from disk and without a network; the version with a
kernel is `explorer_widget.live`.

Page: "First match".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from IPython.display import HTML
from matplotlib.colors import to_hex

from itm_book.explorer import in_page
from itm_book.figures.style import ACCENT, MAX_VEIL, RIGHT, VEIL, WEIGHTS, colours_of
from itm_book.pairs.pair_records import PairRecord, one_pair
from itm_core.errors import InputError

PINS = ("#d55e00", "#56b4e9", "#cc79a7")  # of Okabe and Ito; visible on any picture
SHADES = 32  # of the matrix
MOST_BOXES = 10


def explorer(
    records: PairRecord | Sequence[PairRecord],
    *,
    pinned: Sequence[str] = (),
    top: int = 3,
    truth: bool = False,
) -> HTML:
    """Return an explorer of one pair for one method, or for two methods side by side.

    Args:
        records: of `pair_records.pair_record`.
        pinned: up to three words that are highlighted at the start.
        top: number of outlined regions per word, 0 to 10.
        truth: show the boxes of the objects that a word names at the start.

    Raises `InputError` for records of different pairs, and for words that are not in the caption.
    """
    records = [records] if isinstance(records, PairRecord) else list(records)
    data = payload(records)
    data["start"] = {"pins": _places(data["words"], pinned), "top": _boxes(top), "truth": truth}
    without = f"The explorer of the caption “{data['caption']}” needs JavaScript."
    return HTML(in_page.part("explorer", data, without))


def explorer_menu(
    pairs: Sequence[Sequence[PairRecord]],
    *,
    groups: Sequence[str] = (),
    shown: int = 0,
    top: int = 3,
    truth: bool = False,
) -> HTML:
    """Return an explorer with a menu of pairs, and of one or two methods to compare.

    It starts with the first method. The word that contributes most by it is highlighted at the
    start of each pair; matrices are folded.

    Args:
        pairs: for each pair the records of all methods, in one order.
        groups: for each pair the heading that it has in the menu; by default there are none.
        shown: the pair at the start.
        top, truth: as for `explorer`.

    Raises `InputError` for no pair, a pair that is not there, records of different pairs, pairs
    with different methods, and another number of groups than of pairs.
    """
    data = menu_payload(pairs, shown, groups)
    data["start"] = {"top": _boxes(top), "truth": truth, "folded": True}
    captions = "; ".join(pair["caption"] for pair in data["pairs"])
    without = f"The explorer of these captions needs JavaScript: {captions}."
    return HTML(in_page.part("explorer", data, without))


def menu_payload(
    pairs: Sequence[Sequence[PairRecord]], shown: int, groups: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the data of `explorer_menu`; raises `InputError` as it does."""
    names = {tuple(record.name for record in records) for records in pairs}
    if len(names) != 1:
        found = " and ".join(", ".join(methods) for methods in sorted(names))
        raise InputError(
            "the pairs of a menu need the same methods",
            expected="one or more pairs, each with a record of every method",
            found=found or "no pair",
        )
    if not 0 <= shown < len(pairs):
        raise InputError("no such pair", expected=f"0 to {len(pairs) - 1}", found=shown)
    groups = groups or [""] * len(pairs)
    if len(groups) != len(pairs):
        raise InputError("wrong number of groups", expected=str(len(pairs)), found=len(groups))
    payloads = [
        _pair_payload(records) | {"group": group}
        for records, group in zip(pairs, groups, strict=True)
    ]
    return {"pairs": payloads, "shown": shown}


def _pair_payload(records: Sequence[PairRecord]) -> dict[str, Any]:
    """Return the data of one pair of a menu, with the word that is pinned at the start."""
    first = records[0].directions[0]
    content = one_pair(records).content() if first.direction == "t2i" else []
    best = max(content, key=lambda word: float(first.contribution[word]), default=None)
    return _all_methods(records) | {"pins": [] if best is None else [best]}


def payload(records: Sequence[PairRecord]) -> dict[str, Any]:
    """Return the data of the explorer: the pair, the methods, and the colours of the book.

    Raises `InputError` unless there are one or two records, of the same pair.
    """
    if not 1 <= len(records) <= 2:
        raise InputError("wrong number of records", expected="1 or 2", found=len(records))
    return _all_methods(records)


def _all_methods(records: Sequence[PairRecord]) -> dict[str, Any]:
    pair = one_pair(records)
    return {
        "image": pair.image,
        "caption": pair.caption,
        "words": pair.words,
        "regions": pair.regions,
        "size": list(pair.size),
        "boxes": None if pair.boxes is None else _tenths(pair.boxes),
        "picture": pair.picture,
        "true_boxes": None
        if pair.true_boxes is None
        else [_tenths(boxes) for boxes in pair.true_boxes],
        "methods": [
            record.rounded() | {"colour": colour}
            for record, colour in zip(records, colours_of([r.name for r in records]), strict=True)
        ],
        "palette": {
            "lit": ACCENT,
            "right": RIGHT,
            "pins": list(PINS),
            "heat": _heat(),
            "veil": [VEIL, MAX_VEIL],
        },
    }


def _heat() -> list[str]:
    return [to_hex(WEIGHTS(k / (SHADES - 1))) for k in range(SHADES)]


def _tenths(boxes: np.ndarray) -> list[list[float]]:
    return np.asarray(boxes, np.float64).round(1).tolist()


def _places(words: Sequence[str], pinned: Sequence[str]) -> list[int]:
    missing = [word for word in pinned if word not in words]
    if missing or len(pinned) > len(PINS):
        raise InputError(
            "cannot pin these words",
            expected=f"up to {len(PINS)} of {', '.join(words)}",
            found=", ".join(missing or pinned),
        )
    return [words.index(word) for word in pinned]


def _boxes(top: int) -> int:
    if not 0 <= top <= MOST_BOXES:
        raise InputError("wrong number of boxes", expected=f"0 to {MOST_BOXES}", found=top)
    return top
