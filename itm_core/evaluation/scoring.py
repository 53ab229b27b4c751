"""The score matrix of many images and captions, in blocks that fit a memory budget.

There is no loop over captions or images: captions are sorted by length and met with the images
tile by tile, a tile being as large as the caches (CPU) or the memory (GPU) like it. Images are
held encoded up to a budget, and captions are encoded as they come up, once for each such block of
images, so memory grows with the score matrix alone, however large the gallery is. Several devices
share the images.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from itm_core.data.arrays import release
from itm_core.encoders.fragments import Fragments
from itm_core.evaluation.compiled import compiled
from itm_core.models.matcher import Matcher
from itm_core.models.pairing import AllPairs
from itm_core.settings import one_of

CACHE_TILE = 1_200_000  # floats of [C, L, P, R] in one tile; on a CPU it should stay in cache
VECTOR_TILE = 4_000_000  # floats of [C, L, P, D], where matrix products take most of the time
MEMORY_TILE = 64_000_000  # on a GPU it should fill the machine
IMAGES_PER_TILE = {"cpu": 64, "cuda": 512}  # few enough for a cache, many enough for few launches
CAPTIONS_AT_ONCE = 512
REGIONS_AT_ONCE = 512
HELD = {"cpu": 120_000_000, "cuda": 1_000_000_000}  # floats of encoded regions at a time
PRECISIONS = ("float32", "tf32", "bfloat16")


def tile_floats(matcher: Matcher, device: torch.device) -> int:
    """Return how many floats of the largest tensor a tile should hold on this device."""
    if device.type != "cpu":
        return MEMORY_TILE
    return VECTOR_TILE if matcher.forms_vectors else CACHE_TILE


@contextmanager
def reduced(device: torch.device, precision: str) -> Iterator[None]:
    """Let matrix products inside be those of a precision of `PRECISIONS`.

    ``tf32`` shortens the factors of float32 products on NVIDIA's tensor cores; elsewhere it is
    float32. ``bfloat16`` makes products of half the width. What either does to the ranks is
    measured in the chapter on cost.
    """
    one_of("precision", precision, PRECISIONS)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def chunked(regions: Fragments) -> list[Fragments]:
    """Return the regions of images in chunks of as many images as a tile has on their device."""
    return regions.chunks(_images_per_tile(regions.vectors.device))


def _images_per_tile(device: torch.device) -> int:
    return IMAGES_PER_TILE.get(device.type, IMAGES_PER_TILE["cpu"])


def pad(captions: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return token ids ``[C, L]`` padded with zeros, and their lengths ``[C]``."""
    lens = torch.tensor([len(tokens) for tokens in captions])
    ids = np.zeros((len(captions), int(lens.max())), np.int64)
    for row, tokens in zip(ids, captions, strict=True):
        row[: len(tokens)] = tokens
    return torch.from_numpy(ids), lens


def longest_first(captions: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the order of captions from long to short; equals stay as they come."""
    return np.argsort([-len(tokens) for tokens in captions], kind="stable")


@torch.no_grad()
def score_fragments(matcher: Matcher, regions: Sequence[Fragments], words: Fragments) -> Tensor:
    """Return scores ``[I, C]`` of encoded images (given in chunks) and encoded captions.

    Equal to ``matcher(AllPairs(...)).T`` of everything at once, in tiles that fit the cache.
    """
    device = words.vectors.device
    order = torch.argsort(words.lens)
    # cut as for a whole chunk: the last one may be small, and alone where a gallery is sharded
    images = max(_images_per_tile(device), *(len(chunk.lens) for chunk in regions))
    most = images * max(per_word(matcher, chunk) // len(chunk.lens) for chunk in regions)
    rows = []
    for tile in tiles(words.lens[order], most, tile_floats(matcher, device)):
        some = words.take(order[tile])  # what is worked out of them serves all chunks
        rows.append(torch.cat([matcher(AllPairs(chunk, some)) for chunk in regions], 1))
    return torch.cat(rows)[torch.argsort(order).to(device)].T


def per_word(matcher: Matcher, regions: Fragments) -> int:
    """Return the floats that one word makes when it is met with these images."""
    images, count, width = regions.vectors.shape
    return images * max(count, width if matcher.forms_vectors else 0)


def tiles(lens: Tensor, per_word: int, floats: int) -> Iterator[slice]:
    """Yield runs of captions, sorted by length, whose dot products fit ``floats``."""
    longest, start = lens.tolist(), 0
    for stop in range(1, len(longest) + 1):
        if stop == len(longest) or (stop + 1 - start) * longest[stop] * per_word > floats:
            yield slice(start, stop)
            start = stop


@torch.no_grad()
def encoded_blocks(
    matcher: Matcher,
    features: np.ndarray,
    rows: slice = slice(None),
    *,
    held: int | None = None,
) -> Iterator[tuple[slice, list[Fragments]]]:
    """Yield runs of the images in ``rows`` and their regions, in chunks the size of a tile.

    A run has as many images as fit ``held`` floats, by default what the device has room for.

    Shapes: ``features [I, R, F]`` (a memory map is read piece by piece); chunks ``[i, R, D]``.
    """
    device = next(matcher.parameters()).device
    held = HELD.get(device.type, HELD["cpu"]) if held is None else held
    first, last, _ = rows.indices(len(features))
    chunks: list[Fragments] = []
    count = 0
    for start in range(first, last, REGIONS_AT_ONCE):
        stop = min(start + REGIONS_AT_ONCE, last)
        batch = torch.from_numpy(np.array(features[start:stop], np.float32))
        regions = matcher.regions(batch.to(device))
        chunks += chunked(regions)
        count += regions.vectors.numel()
        release(features)
        if stop == last or count + regions.vectors.numel() > held:
            yield slice(first, stop), chunks
            first, count, chunks = stop, 0, []


def encode_images(matcher: Matcher, features: np.ndarray) -> list[Fragments]:
    """Return the regions of all images, encoded, in chunks the size of a tile, ``[i, R, D]``."""
    return [chunk for _, chunks in encoded_blocks(matcher, features) for chunk in chunks]


@torch.no_grad()
def encode_captions(
    matcher: Matcher, captions: Sequence[Sequence[int]]
) -> Iterator[tuple[np.ndarray, Fragments]]:
    """Yield the words of all captions, encoded, short ones first, and where they stood: ``[c]``.

    In blocks of `CAPTIONS_AT_ONCE`, ``[c, L, D]``.
    """
    device = next(matcher.parameters()).device
    order = np.argsort([len(tokens) for tokens in captions], kind="stable")
    for start in range(0, len(order), CAPTIONS_AT_ONCE):
        chosen = order[start : start + CAPTIONS_AT_ONCE]
        ids, lens = pad([captions[i] for i in chosen])
        yield chosen, matcher.words(ids.to(device), lens)


def cut(images: int, parts: int) -> list[slice]:
    """Return the rows of each of ``parts`` shards of a gallery, one after the other.

    Where there are images enough they are cut where a chunk ends, so that every image is in the
    same matrix product as without shards, and its scores are the same to the last bit.

    >>> cut(10, 3), cut(3000, 2)
    ([slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)], \
[slice(0, 1536, None), slice(1536, 3000, None)])
    """
    unit = REGIONS_AT_ONCE if images > (parts - 1) * REGIONS_AT_ONCE else 1
    units = -(-images // unit)
    bounds = [min(images, units * k // parts * unit) for k in range(parts + 1)]
    return [slice(*both) for both in pairwise(bounds)]


@torch.no_grad()
def score_blocks(
    matcher: Matcher,
    features: np.ndarray,
    captions: Sequence[Sequence[int]],
    *,
    rows: slice = slice(None),
    precision: str = "float32",
    progress: bool = False,
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield images, captions ``[c]`` and their scores ``[i, c]``, block by block.

    Args:
        rows: the images that are met with the captions. They come in order, each run of them with
            all captions before the next.

    The matcher must be in evaluation mode; other arguments as for `score_matrix`.
    """
    device = next(matcher.parameters()).device
    pairs = len(range(*rows.indices(len(features)))) * len(captions)
    shown = tqdm(
        total=pairs, desc="scoring", unit="pair", unit_scale=True, leave=False, disable=not progress
    )
    # the precision is set anew for every block, so that the caller's own computing stays as it is
    with shown as bar:
        for images, regions in encoded_blocks(matcher, features, rows):
            for chosen, words in encode_captions(matcher, captions):
                with reduced(device, precision):
                    scores = score_fragments(matcher, regions, words).float().cpu().numpy()
                yield images, chosen, scores
                bar.update(scores.size)
            del regions  # before the next ones are encoded


def score_matrix(
    matcher: Matcher,
    features: np.ndarray,
    captions: Sequence[Sequence[int]],
    *,
    precision: str = "float32",
    progress: bool = False,
    devices: Sequence[torch.device] = (),
    compile: bool = False,
) -> np.ndarray:
    """Return the scores ``[I, C]`` (float32) of every image with every caption.

    Args:
        features: ``[I, R, F]`` region features, in memory or mapped.
        captions: token ids of each caption, ``<start>`` and ``<end>`` included.
        precision: ``float32``; ``tf32``, the fast float32 of NVIDIA's tensor cores, which moves
            few ranks; or ``bfloat16`` for products of half the width: faster by a third or more
            where the machine has them, and many ranks move; no number to report.
        progress: show a bar over the captions.
        devices: each takes a share of the images (see `cut`), side by side; by default the
            matcher's device takes all.
        compile: score through `compiled`, for long jobs where the benchmark says that it pays.

    Raises `InputError` for another precision.
    """
    training = matcher.training
    matcher.eval()
    scores = np.empty((len(features), len(captions)), np.float32)

    def fill(ours: Matcher, rows: slice, shown: bool) -> None:
        given: dict[str, Any] = {"rows": rows, "precision": precision, "progress": shown}
        ours = compiled(ours) if compile else ours
        for images, chosen, block in score_blocks(ours, features, captions, **given):
            scores[images, chosen] = block

    shares = cut(len(features), min(len(devices), len(features)) or 1)
    if len(shares) == 1:
        ours = matcher if not devices else copy.deepcopy(matcher).to(devices[0])
        fill(ours, shares[0], progress)
    else:
        copies = [copy.deepcopy(matcher).to(device) for device in devices[: len(shares)]]
        shown = [progress, *[False] * (len(shares) - 1)]
        with ThreadPoolExecutor(len(shares)) as pool:
            list(pool.map(fill, copies, shares, shown))
    matcher.train(training)
    return scores
