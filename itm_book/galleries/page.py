"""A page of search results in one file: pictures, boxes and code are in it, no network is needed.

The results are drawn by `explorer.gallery`, as in the book.

Page: "Your pictures".
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from itm_book.checkpoints.shipped_matchers import title
from itm_book.explorer.gallery import gallery
from itm_book.galleries.results import GalleryHit, GalleryResult
from itm_book.pairs.pair_records import PairRecord
from itm_book.search.searcher import Hit, SearchResult
from itm_core.errors import InputError
from itm_core.experiments.run import Run
from itm_core.files import whole_file

# no request leaves the page, whatever a file name or a sentence says
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --paper: #f4f2ec; --ink: #22262b; --soft: #5b6770; }
@media (prefers-color-scheme: dark) { :root { --paper: #12181c; --ink: #e3e8eb; --soft: #a3afb7; } }
body { max-width: 1200px; margin: 0 auto; padding: 1.2rem clamp(0.6rem, 3vw, 2rem);
  background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.35rem; overflow-wrap: anywhere; }
p { margin: 0.2rem 0 0.8rem; max-width: 48rem; color: var(--soft); font-size: 0.92rem; }
body .itm-gallery { padding: clamp(0.6rem, 2vw, 1.2rem); }
body .itm-gallery .images ol { grid-template-columns: repeat(auto-fill, minmax(min(230px, 100%),
  1fr)); }
"""


def write_page(path: Path, run: Run, name: str, results: Sequence[GalleryResult]) -> None:
    """Write a page of results, completely or not at all.

    Args:
        run: the matcher of the gallery.
        name: the title, such as the name of the gallery.
        results: with explanations, one for each sentence.

    Raises `InputError` for results without explanations, and for a place that cannot be written.
    """
    if path.is_dir():
        raise InputError("a folder, not a page", file=path, remedy="name a file, such as page.html")
    queries = [[_result(run, result)] for result in results]
    of = f"{results[0].of} images" if results[0].of != 1 else "1 image"
    hint = (
        "Point at a word, or tap it, to see the region through which it contributes most to each "
        "score. At first the boxes are those of the words that contribute most."
    )
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(name)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(name)}</h1>
<p>{of}, ranked by {escape(title(run))}. {hint}</p>
{gallery(queries, named=True).data}
</body>
</html>
"""
    with whole_file(path) as partial:
        partial.write_text(page, encoding="utf-8", errors="backslashreplace")


def _result(run: Run, result: GalleryResult) -> SearchResult:
    """Return a result in the form that the book's gallery draws; relevance is unknown."""
    unknown = run.vocabulary.unknown(result.sentence)
    hits = [
        Hit(place=hit.place, image=hit.place, right=None, unknown=unknown, record=_record(hit))
        for hit in result.hits
    ]
    return SearchResult(title(run), result.sentence, "images", hits, None, result.of)


def _record(hit: GalleryHit) -> PairRecord:
    if hit.record is None:
        raise InputError(
            "no page without the regions and pictures of the images",
            found=f"{hit.names[0]} without features",
            remedy="put the dataset back where it was when it was indexed",
        )
    return hit.record
