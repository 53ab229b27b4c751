"""A gallery of photographs without captions: every photograph is scored with every sentence.

The folder contains:

=================  ============================================================================
``search.json``    where the photographs are, the matcher, the photographs and their hashes
``features.json``  which backbone and boxes made the features (`data.feature_notes`)
``pictures/``      a file for each content (`picture_rows`)
=================  ============================================================================

Paths are relative and contents are named by hashes, so that gallery, photographs and project can be
moved. `indexing` writes the folder.

Page: "Your pictures".
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from itm_book.datasets.run_features import run_features
from itm_book.galleries.matcher_note import located
from itm_book.galleries.picture_rows import read_rows
from itm_book.galleries.results import GalleryHit, GalleryResult
from itm_book.pairs.pair_records import records_of
from itm_book.photographs.picture_sources import OWN
from itm_book.search.sentences import require_sentence
from itm_core.data.dataset import Split
from itm_core.errors import InputError
from itm_core.evaluation.scoring import Captions, encode_images, score_matrix
from itm_core.experiments.run import Run
from itm_core.models import Matcher
from itm_core.settings import at_least

AT_ONCE = 512  # photographs whose features are in memory


@dataclass(frozen=True, eq=False, kw_only=True)
class GallerySplit(Split):
    """Some photographs of a gallery, with the smaller copies that it keeps.

    Attributes:
        digests: the hash of each photograph's content.
    """

    digests: Sequence[str]

    def picture(self, image: int) -> np.ndarray:
        """Return the smaller copy ``[H, W, 3]`` uint8 of a photograph."""
        (copies,) = read_rows(self.folder, [self.digests[image]], "picture")
        with Image.open(BytesIO(copies[0].tobytes())) as file:
            return np.asarray(file.convert("RGB"))


class PhotographGallery:
    """The photographs of a gallery, each content once.

    Args:
        folder: of the gallery.
        note: its note, see `indexing`.
        run: the matcher that it was made with.
    """

    def __init__(self, folder: Path, note: Mapping[str, Any], run: Run) -> None:
        self.folder, self.run, self.unreadable = folder, run, note["unreadable"]
        self.photographs = located(note["photographs"], folder)
        names: dict[str, list[str]] = {}
        for name, digest in note["pictures"].items():
            names.setdefault(digest, []).append(name)
        self.digests, self.names = list(names), list(names.values())

    def __len__(self) -> int:
        return len(self.digests)

    @cached_property
    def _matcher(self) -> Matcher:
        return self.run.matcher()

    def split(self, places: Sequence[int]) -> GallerySplit:
        """Return some photographs as a split without captions, with features ``[i, R, F]``.

        Raises `InputError` when stored features are missing or damaged.
        """
        digests = [self.digests[place] for place in places]
        features, boxes, sizes = read_rows(self.folder, digests, "features", "boxes", "size")
        return GallerySplit(
            folder=self.folder,
            name=OWN,
            regions=features,
            captions=[],
            ids=[self.names[place][0] for place in places],
            caption_image=np.zeros(0, np.int64),
            boxes=boxes,
            sizes=sizes,
            digests=digests,
        )

    def _features(self) -> Iterator[tuple[slice, Any]]:
        """Yield the features of all photographs in blocks, as the matcher takes them."""
        for start in range(0, len(self), AT_ONCE):
            stop = min(start + AT_ONCE, len(self))
            yield slice(start, stop), run_features(self.run, self.split(range(start, stop)))

    def scores(self, sentences: Sequence[str]) -> np.ndarray:
        """Return the scores ``[I, C]`` float32 of every photograph with every sentence.

        Raises `InputError` as `require_sentence` does.
        """
        for sentence in sentences:
            require_sentence(self.run.vocabulary, sentence)
        captions = Captions.of([self.run.vocabulary.encode(sentence) for sentence in sentences])
        blocks = (score_matrix(self._matcher, rows, captions) for _, rows in self._features())
        return np.concatenate(list(blocks))

    def embeddings(self) -> np.ndarray:
        """Return the encoded regions ``[I, R, D]`` float32 of every photograph."""
        blocks = [
            chunk.vectors.numpy()
            for _, rows in self._features()
            for chunk in encode_images(self._matcher, rows)
        ]
        return np.concatenate(blocks)

    def region_lens(self) -> None:
        """Return None: every photograph has R regions."""

    def boxes(self) -> np.ndarray:
        """Return the boxes ``[I, R, 4]`` of every photograph, in its pixels."""
        (boxes,) = read_rows(self.folder, self.digests, "boxes")
        return boxes

    def search(
        self, sentence: str, top: int, candidates: int | None = None, *, small: bool = True
    ) -> GalleryResult:
        """Return the best photographs of a sentence, with explanations.

        Args:
            top: number of photographs.
            candidates: none here, because every photograph is scored.
            small: explain with pictures of a few kB.

        Raises `InputError` for candidates, for a ``top`` below one, and as `scores` does.
        """
        at_least("top", top, 1)
        if candidates is not None:
            raise InputError(
                "a gallery of photographs has no first stage: every photograph is scored",
                found=f"--candidates {candidates}",
                remedy="leave --candidates out",
            )
        unknown, started = require_sentence(self.run.vocabulary, sentence), time.perf_counter()
        scores = self.scores([sentence])[:, 0]
        seconds = time.perf_counter() - started
        order = np.argsort(-scores, kind="stable")[:top].tolist()
        split = self.split(order)
        assert split.boxes is not None  # every stored photograph has them
        pairs = [(row, sentence) for row in range(len(order))]
        records = records_of(self.run, split, pairs, matcher=self._matcher, small=small)
        hits = [
            GalleryHit(place, float(scores[place]), self._paths(place), record, boxes)
            for place, record, boxes in zip(order, records, split.boxes, strict=True)
        ]
        return GalleryResult(sentence, unknown, hits, len(self), seconds)

    def _paths(self, place: int) -> list[str]:
        if not self.photographs.is_dir():  # only the gallery was moved
            return self.names[place]
        return [str(self.photographs / name) for name in self.names[place]]
