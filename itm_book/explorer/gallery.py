"""Interactive search results with their most important regions and words.

For a fixed set of queries, on pages without a kernel; with a kernel: `gallery_widget.live`.

Page: "The gallery: what is found, and why".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from IPython.display import HTML

from itm_book.explorer import in_page
from itm_book.figures.style import ACCENT, RIGHT, colours_of
from itm_book.search.searcher import Hit, SearchResult
from itm_core.errors import InputError

Query = Sequence[SearchResult]  # results of one or two methods for one query


def gallery(queries: Sequence[Query], *, named: bool = False) -> HTML:
    """Return a gallery of one or more queries, one of them shown at a time.

    Args:
        queries: for each the results of one or two methods, of `searcher.Searcher`; all of them
            sentences, or all of them images.
        named: write the id of each image below it, and the words beside their boxes.

    Raises `InputError` for none, for a mixture, and for methods with different queries.
    """
    data = payload(queries, named=named)
    names = "; ".join(query["query"] for query in data["queries"])
    return HTML(in_page.part("gallery", data, f"The gallery of {names} needs JavaScript."))


def payload(queries: Sequence[Query], *, named: bool = False) -> dict[str, Any]:
    """Return the data of the gallery: every query, and each picture once.

    Raises `InputError` as `gallery` does.
    """
    targets = {result.target for query in queries for result in query}
    if len(targets) != 1:
        raise InputError(
            "a gallery shows either images or captions",
            expected="queries of one kind, and at least one of them",
            found=" and ".join(sorted(targets)) or "none",
        )
    return {
        "target": targets.pop(),
        "named": named,
        "queries": [_query(query) for query in queries],
        "images": {h.image: _image(h) for query in queries for f in query for h in f.hits},
        "palette": {"lit": ACCENT, "right": RIGHT},
    }


def _query(query: Query) -> dict[str, Any]:
    """Return a query as JSON data, validated."""
    if not 1 <= len(query) <= 2:
        raise InputError("wrong number of methods", expected="1 or 2", found=len(query))
    keys = {_key(result) for result in query}
    if len(keys) != 1:
        first, second = (" ".join(words) or name for name, words in list(keys)[:2])
        raise InputError("the methods have different queries", expected=first, found=second)
    names = [result.name for result in query]
    return {
        "query": query[0].query,
        "image": query[0].hits[0].image,
        "methods": [
            {
                "name": result.name,
                "colour": colour,
                "rank": result.rank,
                "of": result.of,
                "hits": [_hit(hit) for hit in result.hits],
            }
            for result, colour in zip(query, colours_of(names), strict=True)
        ],
    }


def _key(result: SearchResult) -> tuple[str, tuple[str, ...]]:
    """Return the query, and for a sentence its tokens."""
    words = result.hits[0].record.pair.words if result.target == "images" else []
    return result.query, tuple(words)


def _hit(hit: Hit) -> dict[str, Any]:
    """Return a result as JSON data, rounded so that contributions still add up."""
    record, score = hit.record, round(hit.record.score, 6)
    evidence = record.evidence().round(5) + 0.0  # no negative zeros
    return {
        "image": hit.image,
        "words": record.pair.words,
        "unknown": hit.unknown,
        "right": hit.right,
        "content": record.pair.content(),
        "score": score,
        "remainder": round(score - float(evidence.sum()), 6),
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
