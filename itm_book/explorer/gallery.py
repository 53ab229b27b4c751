"""What a search found, to be touched: ranked images with the regions that decided, and captions.

A fixed set of queries for pages without a kernel; the live one is `gallery_widget.live`.

Page: "The gallery".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from IPython.display import HTML

from itm_book.explorer import in_page
from itm_book.figures.style import ACCENT, RIGHT, colours_of
from itm_book.search.searcher import Found, Hit
from itm_core.errors import InputError

Query = Sequence[Found]  # what one method, or two, found for it


def gallery(queries: Sequence[Query]) -> HTML:
    """Return a gallery of one or more queries, of which a reader chooses.

    Args:
        queries: of each, what one method found, or two, of `searcher.Searcher`; all of them
            sentences, or all of them images.

    Raises `InputError` for none, for a mixture, and for methods that were asked different things.
    """
    data = payload(queries)
    asked = "; ".join(query["asked"] for query in data["queries"])
    return HTML(in_page.part("gallery", data, f"A gallery of {asked} stands here with JavaScript."))


def payload(queries: Sequence[Query]) -> dict[str, Any]:
    """Return what the module draws: every query, and the pictures of all, each once.

    Raises `InputError` as `gallery` does.
    """
    wanted = {found.wanted for query in queries for found in query}
    if len(wanted) != 1:
        raise InputError(
            "a gallery shows images or captions",
            expected="queries of one kind, and at least one of them",
            found=" and ".join(sorted(wanted)) or "none",
        )
    return {
        "wanted": wanted.pop(),
        "queries": [_query(query) for query in queries],
        "images": {h.image: _image(h) for query in queries for f in query for h in f.hits},
        "palette": {"lit": ACCENT, "right": RIGHT},
    }


def _query(query: Query) -> dict[str, Any]:
    """Return a query as plain data, checked."""
    if not 1 <= len(query) <= 2:
        raise InputError("one method, or two below each other", found=f"{len(query)} methods")
    asked = {_asked(found) for found in query}
    if len(asked) != 1:
        expected, found = (" ".join(words) or name for name, words in list(asked)[:2])
        raise InputError("these methods were not asked the same", expected=expected, found=found)
    names = [found.name for found in query]
    return {
        "asked": query[0].asked,
        "image": query[0].hits[0].image,
        "methods": [
            {
                "name": found.name,
                "colour": colour,
                "rank": found.rank,
                "of": found.of,
                "hits": [_hit(hit) for hit in found.hits],
            }
            for found, colour in zip(query, colours_of(names), strict=True)
        ],
    }


def _asked(found: Found) -> tuple[str, tuple[str, ...]]:
    """Return the query, for a sentence with the words that the method made of it."""
    words = found.hits[0].record.pair.words if found.wanted == "images" else []
    return found.asked, tuple(words)


def _hit(hit: Hit) -> dict[str, Any]:
    """Return a result as plain numbers, rounded so that they still add up."""
    record, score = hit.record, round(hit.record.score, 6)
    evidence = record.evidence().round(5) + 0.0  # no minus before a zero
    return {
        "image": hit.image,
        "words": record.pair.words,
        "unknown": hit.unknown,
        "right": hit.right,
        "score": score,
        "rest": round(score - float(evidence.sum()), 6),
        "evidence": evidence.tolist(),
    }


def _image(hit: Hit) -> dict[str, Any]:
    pair = hit.record.pair
    boxes = None if pair.boxes is None else np.asarray(pair.boxes, np.float64).round(1).tolist()
    return {
        "id": pair.image,
        "size": list(pair.size),
        "picture": pair.picture,
        "boxes": boxes,
        "regions": pair.regions,
    }
