"""Search in two stages: a vector index returns candidates, the fine-grained matcher ranks them.

Scoring a sentence with every image of a large gallery is too slow for interactive use. So the
first stage compares one vector of the sentence with one vector of every image (`first_stage`,
`vector_index`); only the regions of the best images are read (`gallery_store`) and scored by the
matcher itself, as `Candidates`. The scores of the results equal those of the exact ranking; an
image is missed when the first stage ranks it below the candidates, so more candidates miss less.
The matcher may be on any device; the first stage is computed on the CPU.

One folder contains everything: the store, ``first_stage.safetensors`` and ``index.faiss``.

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
FITTED = (2000, 1200)  # images of the gallery and training captions
PAIRS_AT_ONCE = 256  # candidates per step: their regions fit into the cache
CANDIDATES, TOP = 2000, 10


@dataclass(frozen=True, eq=False)
class Ranking:
    """The best images of each caption, best first.

    Attributes:
        images: ``[C, K]`` int64 indices into the gallery.
        scores: ``[C, K]`` float32 scores of the matcher.
        seconds: time of each part: ``first`` (vectors and index), ``read`` (regions of
            candidates), ``rank`` (their fine scores).
    """

    images: np.ndarray
    scores: np.ndarray
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TwoStage:
    """A gallery for search in two stages; ``matcher`` must be the one that encoded it."""

    matcher: Matcher
    store: GalleryStore
    first: FirstStage
    index: VectorIndex

    @torch.no_grad()
    def search(self, words: Fragments, candidates: int = CANDIDATES, top: int = TOP) -> Ranking:
        """Return the best images of encoded captions, among ``candidates`` for each.

        More candidates miss less and take longer; with all images as candidates the ranking is
        exact. Raises `InputError` for fewer candidates than ``top``, and for values below one.
        """
        at_least("top", top, 1)
        at_least("candidates", candidates, 1)
        count = min(candidates, len(self.index))
        top = min(top, len(self.index))
        if count < top:
            raise InputError("too few candidates", expected=f"{top} or more", found=candidates)
        seconds = {"first": 0.0, "read": 0.0, "rank": 0.0}
        with _timed(seconds, "first"):
            shortlists = self.index.nearest(self.first.captions(words.to("cpu")).numpy(), count)
        images, scores = [], []
        for row, shortlist in enumerate(shortlists):
            shortlist.sort()  # so that neighbours on disk are read together
            with _timed(seconds, "read"):
                regions = self.store.fragments(shortlist)
            with _timed(seconds, "rank"):
                fine = rerank(self.matcher, regions, words.take(torch.tensor([row])))
                best = fine.topk(top)
            images.append(shortlist[best.indices.numpy()])
            scores.append(best.values.numpy())
        return Ranking(np.stack(images), np.stack(scores), seconds)


@torch.no_grad()
def rerank(matcher: Matcher, regions: Fragments, caption: Fragments) -> Tensor:
    """Return the fine scores ``[P]`` of one caption with its candidates' ``regions [P, R, D]``.

    The caption is on the matcher's device; regions may be on another one. Scores are on the CPU.
    """
    device, scores = caption.vectors.device, []
    for chunk in regions.chunks(PAIRS_AT_ONCE):
        candidates = torch.arange(len(chunk.lens))[None]
        scores.append(matcher(Candidates(chunk.to(device), caption, candidates))[0])
    return torch.cat(scores).cpu()


@torch.no_grad()
def encode_captions(matcher: Matcher, captions: Sequence[Sequence[int]]) -> Fragments:
    """Return the encoded words of captions: token ids with ``<start>`` and ``<end>``."""
    ids, lens = pad(captions)
    return matcher.words(ids.to(next(matcher.parameters()).device), lens)


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
    """Return a gallery for searching, and build the missing parts.

    Args:
        features: ``[I, R, F]`` of the gallery, see `gallery_store.build_store`.
        captions: token ids of training captions, for a first stage that is not there yet.
        kind: number format of the stored regions: ``float16``, ``int8`` or ``float32``.
        fitted: numbers of images and captions that the first stage is fitted to, evenly spaced.
        vocabulary: the hash of the vocabulary that gave the token ids, see
            `gallery_store.build_store`.

    Raises `InputError` as `gallery_store.build_store` does, or when FAISS is not installed.
    """
    store = build_store(
        matcher, features, folder, kind=kind, vocabulary=vocabulary, progress=progress
    )
    folder = Path(folder)
    if not (folder / FIRST).exists():
        (folder / INDEX).unlink(missing_ok=True)  # of another first stage
        sample = store.fragments(evenly_spaced(len(store), fitted[0]))
        sampled = [captions[i] for i in evenly_spaced(len(captions), fitted[1])]
        fit_first_stage(matcher, sample, encode_captions(matcher, sampled)).save(folder / FIRST)
    if not (folder / INDEX).exists():
        first = FirstStage.load(folder / FIRST)
        write_index(pooled(first, store, progress=progress), folder / INDEX)
    return open_two_stage(matcher, folder)


def open_two_stage(matcher: Matcher, folder: Path | str) -> TwoStage:
    """Return an existing gallery.

    Raises `InputError` when a part is missing, or for a matcher with other weights.
    """
    folder = Path(folder)
    require_encoded_by(matcher, folder)
    first, store = FirstStage.load(folder / FIRST), open_store(folder)
    index = VectorIndex(folder / INDEX)
    if len(index) != len(store):
        raise InputError(
            "the index belongs to another gallery",
            file=folder / INDEX,
            expected=f"{len(store)} images",
            found=len(index),
            remedy="delete it and build the index again",
        )
    return TwoStage(matcher, store, first, index)


def pooled(
    first: FirstStage, store: GalleryStore, stop: int | None = None, *, progress: bool = False
) -> np.ndarray:
    """Return the first stage's vectors ``[I, P]`` of the (first ``stop``) images of a store."""
    blocks = tqdm(
        store.blocks(stop), desc="pooling", unit="block", disable=not progress, leave=False
    )
    return np.concatenate([first.images(block).numpy() for block in blocks])


def evenly_spaced(total: int, count: int) -> np.ndarray:
    """Return ``count`` places among ``total``, or all where there are no more."""
    return np.unique(np.linspace(0, total - 1, min(total, count)).astype(int))


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[part] += time.perf_counter() - started
