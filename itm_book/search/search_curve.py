"""Recall and time of a search in two stages, compared with the exact ranking.

The exact ranking scores a caption with every image, from float32 regions. The recall of its best
ten grows with the number of candidates, as does the time of the search: that is the curve. Times
are given as wall-clock time and as processor time, which other work on the same machine does not
increase.

Page: "Search at scale".
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch

from itm_book.records.record_files import SHARE, Form, record_text
from itm_book.search.distractors import ConcatGallery, SyntheticDistractors
from itm_book.search.gallery_store import AT_ONCE, as_stored
from itm_book.search.two_stage import TOP, Ranking, TwoStage, encode_captions, rerank
from itm_book.shipped import shipped
from itm_core.encoders.fragments import Fragments
from itm_core.errors import InputError
from itm_core.evaluation.scoring import chunked, encode_images, encode_regions, score_fragments
from itm_core.files import reading
from itm_core.models import Matcher

RESULTS = shipped("results")
CURVE, KINDS = RESULTS / "search.csv", RESULTS / "search_kinds.csv"
FORM = Form(columns=("recall", "commit"), exact=False, ranges={"recall": SHARE})
CURVE_COLUMNS = (
    "candidates recall worst milliseconds milliseconds_p90 processor_milliseconds first read rank"
).split()


def encoded(matcher: Matcher, features: Any, stops: Sequence[int]) -> Iterator[Fragments]:
    """Yield the encoded images of a gallery in blocks, of which one ends at every stop."""
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
) -> dict[int, Ranking]:
    """Return for every stop the best images of each caption among the images before the stop.

    Every image is scored with every caption. One block must end at every stop (`encoded`). Only
    the best ``top`` are kept.
    """
    count = len(words.lens)
    scores, images = torch.empty(count, 0), torch.empty(count, 0, dtype=torch.int64)
    rankings, scored = {}, 0
    for block in blocks:
        there = block.to(words.vectors.device)
        fine = score_fragments(matcher, chunked(there), words).T.cpu()
        places = torch.arange(scored, scored + fine.shape[1]).expand(count, -1)
        scores, images = torch.cat([scores, fine], 1), torch.cat([images, places], 1)
        best = scores.topk(min(top, scores.shape[1]))
        scores, images = best.values, images.gather(1, best.indices)
        scored += fine.shape[1]
        if scored in stops:
            rankings[scored] = Ranking(images.numpy(), scores.numpy())
    return rankings


def recalls(candidates: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return per caption the fraction of ``exact [C, K]`` that is among ``candidates [C, k]``."""
    return (exact[:, :, None] == candidates[:, None]).any(2).mean(1)


def curve(
    search: TwoStage,
    captions: Sequence[Sequence[int]],
    exact: np.ndarray,
    counts: Sequence[int],
) -> pd.DataFrame:
    """Return a row for each number of candidates; captions are searched for one at a time.

    Args:
        captions: token ids.
        exact: ``[C, K]`` the best images of the exact ranking.

    Columns: ``candidates``; ``recall`` of the exact best, and ``worst``, that of the worst
    caption; ``milliseconds`` per caption, encoding included (median), ``milliseconds_p90``,
    ``processor_milliseconds``; and the medians of the parts ``first`` (vectors and index),
    ``read`` (regions) and ``rank`` (fine scores).
    """
    rows = []
    for count in counts:
        _timed_search(search, captions[0], count, exact.shape[1])  # creates threads and buffers
        searches = [_timed_search(search, caption, count, exact.shape[1]) for caption in captions]
        recall = recalls(np.concatenate([result.images for result, *_ in searches]), exact)
        wall, processor = [wall for _, wall, _ in searches], [spent for *_, spent in searches]
        parts = {
            name: 1e3 * median(result.seconds[name] for result, *_ in searches)
            for name in ("first", "read", "rank")
        }
        rows.append(
            {
                "candidates": count,
                "recall": recall.mean(),
                "worst": recall.min(),
                "milliseconds": median(wall),
                "milliseconds_p90": float(np.percentile(wall, 90)),
                "processor_milliseconds": median(processor),
                **parts,
            }
        )
    return pd.DataFrame(rows, columns=CURVE_COLUMNS)


def _timed_search(
    search: TwoStage, caption: Sequence[int], count: int, top: int
) -> tuple[Ranking, float, float]:
    """Return the result of a search, its wall-clock and its processor time in milliseconds."""
    started = clocks()
    with torch.no_grad():
        words = encode_captions(search.matcher, [caption])
    result = search.search(words, count, top)
    return (result, *elapsed(started))


def clocks() -> tuple[float, float]:
    """Return wall-clock time and processor time of this process, in seconds."""
    return time.perf_counter(), time.process_time()


def elapsed(started: tuple[float, float]) -> tuple[float, float]:
    """Return wall-clock and processor time in milliseconds since ``started``, see `clocks`."""
    return 1e3 * (time.perf_counter() - started[0]), 1e3 * (time.process_time() - started[1])


def loss_of_kind(
    matcher: Matcher, gallery: Any, words: Fragments, exact: Ranking, kind: str, top: int = TOP
) -> dict[str, float]:
    """Return how storing regions with fewer bits changes the exact ranking.

    Only the images of ``exact`` are scored again, so it must hold more than ``top`` images per
    caption: so many that no other image can enter the best ``top``, which ``sure`` reports.

    Args:
        gallery: the features; ``gallery.take(places)`` gives ``[n, R, F]``.
        exact: the best images from float32, about a hundred per caption.

    Keys: ``recall``, the fraction of the exact best that remain among the best; ``first``, the
    fraction of captions whose best image remains; ``largest_difference`` and ``mean_difference``
    of scores; ``sure``, the fraction of captions for which no image outside ``exact`` can enter.
    """
    recall, first, sure, differences = [], [], [], []
    for row, (images, scores) in enumerate(zip(exact.images, exact.scores, strict=True)):
        with torch.no_grad():
            regions = encode_regions(matcher, gallery.take(images))
        regions = Fragments.of(as_stored(regions.vectors, kind), pooled=regions.pooled)
        fine = rerank(matcher, regions, words.take(torch.tensor([row]))).numpy()
        order = np.argsort(-fine, kind="stable")
        recall.append((order[:top] < top).mean())
        first.append(order[0] == 0)
        differences.append(np.abs(fine - scores))
        sure.append(fine[order[top - 1]] > scores[-1] + differences[-1].max())
    return {
        "recall": float(np.mean(recall)),
        "first": float(np.mean(first)),
        "largest_difference": float(np.max(differences)),
        "mean_difference": float(np.mean(differences)),
        "sure": float(np.mean(sure)),
    }


def synthetic_share(
    matcher: Matcher,
    real: np.ndarray,
    synthetic: SyntheticDistractors,
    words: Fragments,
    top: int = TOP,
) -> float:
    """Return the share of synthetic images among the best ``top`` of a gallery of half each.

    0.5 when synthetic images are as hard distractors as real ones, less when they are easier. The
    images of the captions must not be among the real ones.

    Raises `InputError` unless there are as many synthetic as real images.
    """
    if len(real) != len(synthetic):
        raise InputError(
            "the numbers of real and synthetic images must be equal",
            expected=f"{len(real)} synthetic",
            found=len(synthetic),
        )
    gallery = ConcatGallery(real, synthetic)
    stops = [len(gallery)]
    rankings = exact_tops(matcher, encoded(matcher, gallery, stops), words, stops, top)
    return float((rankings[len(gallery)].images >= len(real)).mean())


@torch.no_grad()
def all_scores(matcher: Matcher, features: np.ndarray, words: Fragments) -> np.ndarray:
    """Return the scores ``[I, C]`` of ``features [I, R, F]`` with encoded captions."""
    return score_fragments(matcher, encode_images(matcher, features), words).cpu().numpy()


def recorded(path: Path) -> pd.DataFrame:
    """Return a recorded table: the curve (`CURVE`) or the losses of number formats (`KINDS`).

    Raises `InputError` when it does not exist or cannot be read.
    """
    with reading(path, "no record", "itm bench search --record"):
        path.stat()
    text = StringIO(record_text(path, FORM))
    return pd.read_csv(text, dtype={"commit": str}).fillna({"commit": ""})
