"""Search in two stages: a vector index names candidates, the fine-grained matcher ranks them.

Scoring a sentence with every image of a large gallery takes too long for someone who waits. So
the first stage compares one vector of the sentence with one vector of every image
(`first_stage`, `vector_index`), and only the images that come out first have their regions read
(`gallery_store`) and are scored by the matcher itself, as `Candidates`. The scores of what is
found are those of the exact ranking; what can be missed is an image that the first stage ranked
too low, and the number of candidates says how many of those there are.

A folder holds all of it: the store, ``first_stage.safetensors`` and ``index.faiss``.

Page: "Search at scale".
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from itm_book.search.first_stage import FirstStage, fit_first_stage
from itm_book.search.gallery_store import GalleryStore, build_store, open_store, require_encoded_by
from itm_book.search.vector_index import VectorIndex, write_index
from itm_core.encoders.fragments import Fragments
from itm_core.errors import InputError
from itm_core.evaluation.scoring import pad
from itm_core.models import Matcher
from itm_core.models.pairing import Candidates
from itm_core.settings import at_least

FIRST, INDEX = "first_stage.safetensors", "index.faiss"
FITTED = (2000, 1200)  # images of the gallery and captions of the training split
PAIRS_AT_ONCE = 256  # candidates in one step: their regions stay in the cache
CANDIDATES, TOP = 2000, 10


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found for each caption, best first.

    Attributes:
        images: ``[C, K]`` int64 places in the gallery.
        scores: ``[C, K]`` float32, the matcher's own.
        seconds: of each part of the search: ``first`` (vectors and index), ``read`` (regions of
            candidates), ``rank`` (their fine scores).
    """

    images: np.ndarray
    scores: np.ndarray
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TwoStage:
    """A gallery that is searched in two stages; the matcher must be the one that encoded it."""

    matcher: Matcher
    store: GalleryStore
    first: FirstStage
    index: VectorIndex

    @torch.no_grad()
    def search(self, words: Fragments, candidates: int = CANDIDATES, top: int = TOP) -> Found:
        """Return the best images of encoded captions, among ``candidates`` for each.

        More candidates miss less and take longer; with as many as there are images the ranking
        is the exact one. Raises `InputError` for fewer candidates than are to be found, and for
        less than one of either.
        """
        at_least("top", top, 1)
        at_least("candidates", candidates, 1)
        count = min(candidates, len(self.index))
        top = min(top, len(self.index))
        if count < top:
            raise InputError("too few candidates", expected=f"{top} or more", found=candidates)
        seconds = {"first": 0.0, "read": 0.0, "rank": 0.0}
        with _timed(seconds, "first"):
            shortlists = self.index.nearest(self.first.captions(words).numpy(), count)
        images, scores = [], []
        for row, shortlist in enumerate(shortlists):
            shortlist.sort()  # neighbours on disk are read together
            with _timed(seconds, "read"):
                regions = self.store.fragments(shortlist)
            with _timed(seconds, "rank"):
                fine = rerank(self.matcher, regions, words.take(torch.tensor([row])))
                best = fine.topk(top)
            images.append(shortlist[best.indices.numpy()])
            scores.append(best.values.numpy())
        return Found(np.stack(images), np.stack(scores), seconds)


@torch.no_grad()
def rerank(matcher: Matcher, regions: Fragments, caption: Fragments) -> Tensor:
    """Return the fine scores ``[P]`` of one caption with its candidates' ``regions [P, R, D]``."""
    found = []
    for chunk in regions.chunks(PAIRS_AT_ONCE):
        everyone = torch.arange(len(chunk.lens))[None]
        found.append(matcher(Candidates(chunk, caption, everyone))[0])
    return torch.cat(found)


@torch.no_grad()
def encode_captions(matcher: Matcher, captions: Sequence[Sequence[int]]) -> Fragments:
    """Return the words of captions (token ids, ``<start>`` and ``<end>`` included), encoded."""
    return matcher.words(*pad(captions))


def build_two_stage(
    matcher: Matcher,
    features: Any,
    captions: Sequence[Sequence[int]],
    folder: Path | str,
    *,
    kind: str = "float16",
    fitted: tuple[int, int] = FITTED,
    vocabulary: str | None = None,
    progress: bool = False,
) -> TwoStage:
    """Return a gallery ready to be searched, making what is not there yet.

    Args:
        features: ``[I, R, F]`` of the gallery, see `gallery_store.build_store`.
        captions: token ids of training captions.
        kind: how regions are kept: ``float16``, ``int8`` or ``float32``.
        fitted: how many images and captions the first stage is fitted to, evenly spread ones.
        vocabulary: the hash of the vocabulary that gave the token ids, see
            `gallery_store.build_store`.

    Raises `InputError` as `gallery_store.build_store` does, or when FAISS is not installed.
    """
    store = build_store(
        matcher, features, folder, kind=kind, vocabulary=vocabulary, progress=progress
    )
    folder = Path(folder)
    if not (folder / FIRST).exists():
        sample = store.fragments(_spread(len(store), fitted[0]))
        chosen = [captions[i] for i in _spread(len(captions), fitted[1])]
        fit_first_stage(matcher, sample, encode_captions(matcher, chosen)).save(folder / FIRST)
    if not (folder / INDEX).exists():
        first = FirstStage.load(folder / FIRST)
        write_index(pooled(first, store, progress=progress), folder / INDEX)
    return open_two_stage(matcher, folder)


def open_two_stage(matcher: Matcher, folder: Path | str) -> TwoStage:
    """Return a gallery that was built.

    Raises `InputError` when a part of it is missing, or for another matcher than encoded it.
    """
    folder = Path(folder)
    require_encoded_by(matcher, folder)
    first, store = FirstStage.load(folder / FIRST), open_store(folder)
    index = VectorIndex(folder / INDEX)
    if len(index) != len(store):
        raise InputError(
            "the index is of another gallery",
            file=folder / INDEX,
            expected=f"{len(store)} images",
            found=len(index),
            remedy="delete it and build the index again",
        )
    return TwoStage(matcher, store, first, index)


def pooled(
    first: FirstStage, store: GalleryStore, stop: int | None = None, *, progress: bool = False
) -> np.ndarray:
    """Return the first stage's vectors ``[I, P]`` of the images of a store, or the first few."""
    blocks = tqdm(
        store.blocks(stop), desc="pooling", unit="block", disable=not progress, leave=False
    )
    return np.concatenate([first.images(block).numpy() for block in blocks])


def _spread(total: int, wanted: int) -> np.ndarray:
    return np.unique(np.linspace(0, total - 1, min(total, wanted)).astype(int))


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[part] += time.perf_counter() - started
