"""What a search in a gallery returns, and its lines in a terminal.

Page: "Your pictures", "Search at scale".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from itm_book.pairs.pair_records import PairRecord
from itm_core.errors import escaped
from itm_core.experiments.run import Run


@dataclass(frozen=True, eq=False)
class GalleryHit:
    """One image of a result.

    Attributes:
        place: its index in the gallery.
        score: by the matcher.
        names: its ids, or the paths of all photographs with this content.
        record: the explanation of the score; None where features or pictures are not at hand.
        boxes: ``[R, 4]`` in pixels of the photograph, or None.
    """

    place: int
    score: float
    names: list[str]
    record: PairRecord | None = None
    boxes: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class GalleryResult:
    """The best images of a sentence, best first.

    Attributes:
        unknown: words that are not in the vocabulary.
        of: the number of images in the gallery.
        seconds: that ranking took.
    """

    sentence: str
    unknown: list[str]
    hits: list[GalleryHit]
    of: int
    seconds: float


class Gallery(Protocol):
    """What every gallery offers; ``names`` has the names of each image."""

    run: Run
    names: list[list[str]]

    def __len__(self) -> int:
        """Return the number of images."""

    def search(
        self, sentence: str, top: int, candidates: int | None = None, *, small: bool = True
    ) -> GalleryResult:
        """Return the best images of a sentence."""

    def scores(self, sentences: Sequence[str]) -> np.ndarray:
        """Return the scores ``[I, C]`` of every image with every sentence."""

    def embeddings(self) -> np.ndarray:
        """Return the encoded regions ``[I, R, D]``, zero after an image's last."""

    def region_lens(self) -> np.ndarray | None:
        """Return how many regions each image has, ``[I]``; None where all have R."""

    def boxes(self) -> np.ndarray | None:
        """Return the boxes ``[I, R, 4]`` in pixels, or None."""


def lines_of(result: GalleryResult) -> Iterator[str]:
    """Yield the lines of a result: score and file of each image, and where each word looks."""
    yield f"{result.sentence}: {result.of} images, {1000 * result.seconds:.0f} ms"
    if result.unknown:
        yield f"unknown to the vocabulary: {', '.join(result.unknown)}"
    for hit in result.hits:
        first, *others = [escaped(_near(name)) for name in hit.names]
        yield f"{hit.score:9.4f}  {first}" + (f" (the same as {', '.join(others)})" * bool(others))
        yield from _looks(hit)


def _looks(hit: GalleryHit) -> Iterator[str]:
    """Yield a line for each word: the weight and the box of its top region."""
    if hit.record is None or not hit.record.directions:
        return
    weights, words = hit.record.direction().weights[-1], hit.record.pair.words
    width = max(map(len, words))
    for word, row in zip(words, weights, strict=True):
        region = int(row.argmax())
        if hit.boxes is None:
            place = f"region {region}"
        else:
            place = ", ".join(f"{side:.0f}" for side in hit.boxes[region])
        yield f"{'':11}{word:{width}}  {row[region]:.3f}  {place}"


def _near(name: str) -> str:
    """Return a path relative to the working directory where it is below it."""
    path, here = Path(name), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else name
