"""What a search in two stages misses and what it takes, against the exact ranking.

The exact ranking scores a caption with every image, from float32 regions. Of its best ten a search
finds a share that grows with the number of candidates, as does its time: that is the curve. Times
are told twice, as the clock on the wall has them and as the time that processors spent, which
others on the same machine do not add to.

Page: "Search at scale".
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch

from itm_book.search.distractors import ConcatGallery, SyntheticDistractors
from itm_book.search.gallery_store import AT_ONCE, as_kept
from itm_book.search.two_stage import TOP, Found, TwoStage, encode_captions, rerank
from itm_book.shipped import shipped
from itm_core.encoders.fragments import Fragments
from itm_core.errors import InputError
from itm_core.evaluation.scoring import chunked, encode_images, score_fragments
from itm_core.files import reading
from itm_core.models import Matcher

RESULTS = shipped("results")
CURVE, KINDS = RESULTS / "search.csv", RESULTS / "search_kinds.csv"
CURVE_COLUMNS = (
    "candidates recall worst milliseconds milliseconds_p90 processor_milliseconds first read rank"
).split()


def encoded(matcher: Matcher, features: Any, stops: Sequence[int]) -> Iterator[Fragments]:
    """Yield the encoded images of a gallery, block by block, with a cut at every stop."""
    cuts = sorted({*range(0, stops[-1], AT_ONCE), *stops})
    for begin, end in pairwise(cuts):
        chunks = encode_images(matcher, features[begin:end])
        yield Fragments.of(torch.cat([chunk.vectors for chunk in chunks]), pooled=_pooled(chunks))


def _pooled(chunks: Sequence[Fragments]) -> torch.Tensor | None:
    pooled = [chunk.pooled for chunk in chunks if chunk.pooled is not None]
    return torch.cat(pooled) if pooled else None


def exact_tops(
    matcher: Matcher,
    blocks: Iterable[Fragments],
    words: Fragments,
    stops: Sequence[int],
    top: int = TOP,
) -> dict[int, Found]:
    """Return the best images of each caption among the first so many, for every stop.

    Every image is scored with every caption; blocks must end at the stops (`encoded`), and only
    the best are kept of each.
    """
    count = len(words.lens)
    scores, images = torch.empty(count, 0), torch.empty(count, 0, dtype=torch.int64)
    found, done = {}, 0
    for block in blocks:
        fine = score_fragments(matcher, chunked(block), words).T
        places = torch.arange(done, done + fine.shape[1]).expand(count, -1)
        scores, images = torch.cat([scores, fine], 1), torch.cat([images, places], 1)
        best = scores.topk(min(top, scores.shape[1]))
        scores, images = best.values, images.gather(1, best.indices)
        done += fine.shape[1]
        if done in stops:
            found[done] = Found(images.numpy(), scores.numpy())
    return found


def shares(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return for each caption the share of the exact best ``[C, K]`` that was found ``[C, k]``."""
    return (exact[:, :, None] == found[:, None]).any(2).mean(1)


def curve(
    search: TwoStage,
    captions: Sequence[Sequence[int]],
    exact: np.ndarray,
    counts: Sequence[int],
) -> pd.DataFrame:
    """Return one row for each number of candidates; captions are searched for one by one.

    Args:
        captions: token ids.
        exact: ``[C, K]`` the best images of the exact ranking.

    Columns: ``candidates``; ``recall``, the share of the exact best that was found, and
    ``worst``, that of the worst caption; ``milliseconds`` for a caption, encoding included
    (median), ``milliseconds_p90``, ``processor_milliseconds``; and the medians of the parts
    ``first`` (vectors and index), ``read`` (regions) and ``rank`` (fine scores).
    """
    rows = []
    for count in counts:
        _one(search, captions[0], count, exact.shape[1])  # the first call makes threads and buffers
        each = [_one(search, caption, count, exact.shape[1]) for caption in captions]
        kept = shares(np.concatenate([found.images for found, *_ in each]), exact)
        wall, spent = [wall for _, wall, _ in each], [spent for *_, spent in each]
        parts = {
            name: 1e3 * median(found.seconds[name] for found, *_ in each)
            for name in ("first", "read", "rank")
        }
        rows.append(
            {
                "candidates": count,
                "recall": kept.mean(),
                "worst": kept.min(),
                "milliseconds": median(wall),
                "milliseconds_p90": float(np.percentile(wall, 90)),
                "processor_milliseconds": median(spent),
                **parts,
            }
        )
    return pd.DataFrame(rows, columns=CURVE_COLUMNS)


def _one(
    search: TwoStage, caption: Sequence[int], count: int, top: int
) -> tuple[Found, float, float]:
    """Return what is found for a caption, and the milliseconds of the wall and of processors."""
    started = clocks()
    with torch.no_grad():
        words = encode_captions(search.matcher, [caption])
    found = search.search(words, count, top)
    return (found, *since(started))


def clocks() -> tuple[float, float]:
    """Return the seconds of the clock on the wall, and those that processors spent on this."""
    return time.perf_counter(), time.process_time()


def since(started: tuple[float, float]) -> tuple[float, float]:
    """Return the milliseconds of both clocks since ``started``."""
    return 1e3 * (time.perf_counter() - started[0]), 1e3 * (time.process_time() - started[1])


def loss_of_kind(
    matcher: Matcher, gallery: Any, words: Fragments, exact: Found, kind: str, top: int = TOP
) -> dict[str, float]:
    """Return what keeping regions in fewer bits does to the exact ranking.

    Only the images of ``exact`` are scored again, so it must hold more than ``top`` of each
    caption: as many that no image beyond could come up, which ``sure`` tells.

    Args:
        gallery: the features; ``gallery.take(places)`` gives ``[n, R, F]``.
        exact: the best images from float32, some hundred of each caption.

    Keys: ``recall``, the share of the exact best that stay among them; ``first``, the share of
    captions whose best image stays; ``largest_difference`` and ``mean_difference`` of scores;
    ``sure``, the share of captions of which more images need not have been looked at.
    """
    kept, first, sure, differences = [], [], [], []
    for row, (images, scores) in enumerate(zip(exact.images, exact.scores, strict=True)):
        with torch.no_grad():
            regions = matcher.regions(torch.from_numpy(gallery.take(images)))
        regions = Fragments.of(as_kept(regions.vectors, kind), pooled=regions.pooled)
        fine = rerank(matcher, regions, words.take(torch.tensor([row]))).numpy()
        order = np.argsort(-fine, kind="stable")
        kept.append((order[:top] < top).mean())
        first.append(order[0] == 0)
        differences.append(np.abs(fine - scores))
        sure.append(fine[order[top - 1]] > scores[-1] + differences[-1].max())
    return {
        "recall": float(np.mean(kept)),
        "first": float(np.mean(first)),
        "largest_difference": float(np.max(differences)),
        "mean_difference": float(np.mean(differences)),
        "sure": float(np.mean(sure)),
    }


def share_of_glued(
    matcher: Matcher,
    real: np.ndarray,
    glued: SyntheticDistractors,
    words: Fragments,
    top: int = TOP,
) -> float:
    """Return the share of glued pictures among the best of real and glued ones, half and half.

    0.5 where they are as hard to tell from the right image as real pictures are, less where they
    are easier. The images of the captions must not be among the real ones.

    Raises `InputError` unless there are as many of either.
    """
    if len(real) != len(glued):
        raise InputError("half and half", expected=f"{len(real)} glued", found=len(glued))
    both = ConcatGallery(real, glued)
    stops = [len(both)]
    found = exact_tops(matcher, encoded(matcher, both, stops), words, stops, top)
    return float((found[len(both)].images >= len(real)).mean())


@torch.no_grad()
def all_scores(matcher: Matcher, features: np.ndarray, words: Fragments) -> np.ndarray:
    """Return the scores ``[I, C]`` of images, ``features [I, R, F]``, with encoded captions."""
    return score_fragments(matcher, encode_images(matcher, features), words).numpy()


def recorded(path: Path) -> pd.DataFrame:
    """Return the measured curve (`CURVE`) or the loss of each kind (`KINDS`) from the record.

    Raises `InputError` when there is none, or it may not be read.
    """
    with reading(path, "no record", "itm bench search"):
        return pd.read_csv(path, dtype={"commit": str}).fillna({"commit": ""})
