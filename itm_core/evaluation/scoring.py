"""The score matrix of many images and captions, in blocks that fit a memory budget.

There is no loop over single captions or images. Captions are sorted by length once (`Captions`)
and scored with the images tile by tile; a tile fits the cache of a CPU, or fills a GPU. Encoded
images are kept up to a budget, and captions are encoded anew for each such block of images, so
memory grows with the score matrix alone. Several devices divide the images among them.

Score matrices are ``[I, C]`` everywhere. A pairing inside a model has captions first, ``[C, P]``:
`score_all` is the one place where the two meet.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from itm_core.data.arrays import release
from itm_core.data.ragged import region_lens
from itm_core.encoders.fragments import Fragments
from itm_core.evaluation.compiled import compiled
from itm_core.models.matcher import Matcher
from itm_core.models.pairing import AllPairs
from itm_core.settings import one_of

CACHE_TILE = 1_200_000  # floats of [C, L, P, R] in one tile; on a CPU it should stay in cache
VECTOR_TILE = 4_000_000  # floats of [C, L, P, D], where matrix products take most of the time
GRAPH_TILE = 1_000_000  # the same in training, where the graph keeps a dozen such tensors
MEMORY_TILE = 64_000_000  # on a GPU it should fill the machine
IMAGES_PER_TILE = {"cpu": 64, "cuda": 512}  # few enough for a cache, many enough for few launches
CAPTIONS_AT_ONCE = 512
REGIONS_AT_ONCE = 512
ENCODED_FLOATS = {"cpu": 120_000_000, "cuda": 1_000_000_000}  # of encoded regions at a time
PRECISIONS = ("float32", "tf32", "bfloat16")


def pad(rows: Sequence[Sequence[int] | np.ndarray], dtype: Any = np.int64) -> tuple[Tensor, Tensor]:
    """Return rows of different lengths padded with zeros, and their lengths ``[C]``.

    Shapes: ids of tokens give ``[C, L]``; arrays ``[l, ...]`` of a ``dtype`` give ``[C, L, ...]``.
    """
    lens = torch.tensor([len(row) for row in rows])
    padded = np.zeros((len(rows), int(lens.max()), *np.shape(rows[0])[1:]), dtype)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(padded), lens


def longest_first(captions: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the order of captions from long to short; equal lengths keep their order."""
    return np.argsort([-len(tokens) for tokens in captions], kind="stable")


class CaptionBlock(NamedTuple):
    """Some captions: columns ``[c]`` of the score matrix, token ids ``[c, L]``, lengths ``[c]``."""

    columns: np.ndarray
    ids: Tensor
    lens: Tensor


@dataclass(frozen=True, eq=False)
class Captions:
    """The captions of a split, sorted by length and padded once, for any number of scorings.

    >>> captions = Captions.of([[1, 5, 6, 2], [1, 2], [1, 7, 2]])
    >>> len(captions), captions.blocks[0].columns.tolist(), captions.blocks[0].lens.tolist()
    (3, [1, 2, 0], [2, 3, 4])
    """

    blocks: Sequence[CaptionBlock]  # short captions first, `CAPTIONS_AT_ONCE` each

    @classmethod
    def of(cls, captions: Sequence[Sequence[int]] | Captions) -> Captions:
        """Return captions prepared from the token ids of each; prepared ones as they are."""
        if isinstance(captions, Captions):
            return captions
        order = np.argsort([len(tokens) for tokens in captions], kind="stable")
        starts = range(0, len(order), CAPTIONS_AT_ONCE)
        chosen = [order[start : start + CAPTIONS_AT_ONCE] for start in starts]
        return cls([CaptionBlock(some, *pad([captions[i] for i in some])) for some in chosen])

    def __len__(self) -> int:
        return sum(len(block.lens) for block in self.blocks)


@contextmanager
def evaluating(matcher: Matcher) -> Iterator[None]:
    """Have a matcher in evaluation mode meanwhile, as scoring and reading attention need it."""
    training = matcher.training
    matcher.eval()
    try:
        yield
    finally:
        matcher.train(training)


@contextmanager
def matmul_precision(device: torch.device, precision: str) -> Iterator[None]:
    """Compute matrix products inside with a precision of `PRECISIONS`.

    ``tf32`` shortens the factors of float32 products on NVIDIA's tensor cores; elsewhere it is
    float32. ``bfloat16`` computes products in 16 bits. The chapter on cost measures what either
    does to the ranks.
    """
    one_of("precision", precision, PRECISIONS)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def score_all(matcher: Matcher, regions: Fragments, words: Fragments) -> Tensor:
    """Return the scores ``[I, C]`` of every image with every caption, in one piece."""
    return matcher(AllPairs(regions, words)).T


@torch.no_grad()
def score_fragments(
    matcher: Matcher,
    regions: Sequence[Fragments],
    words: Fragments,
    *,
    order: Tensor | None = None,
) -> Tensor:
    """Return scores ``[I, C]`` of encoded images (given in chunks) and encoded captions.

    Equal to `score_all` of everything at once, in tiles that fit the cache. ``order [C]`` is that
    of the captions from short to long; by default they are sorted here.
    """
    device = words.vectors.device
    order = torch.argsort(words.lens) if order is None else order
    # sized for a full chunk: the last one may be small, and alone where a gallery is sharded
    images = max(_images_per_tile(device), *(len(chunk.lens) for chunk in regions))
    per_word = images * max(floats_per_word(matcher, chunk) // len(chunk.lens) for chunk in regions)
    scores: Tensor | None = None
    for tile in caption_tiles(words.lens[order], per_word, tile_floats(matcher, device)):
        captions = order[tile]
        some = words.take(captions)  # its lazily computed parts serve all chunks
        block = torch.cat([score_all(matcher, chunk, some) for chunk in regions])
        if scores is None:  # one caption after another in memory, as in a pairing
            scores = block.new_empty(len(order), len(block)).T
        scores[:, captions.to(device)] = block
    assert scores is not None  # there are captions
    return scores


def tile_floats(matcher: Matcher, device: torch.device, *, graph: bool = False) -> int:
    """Return how many floats the largest tensor of a tile should have on this device.

    With a ``graph`` the intermediate tensors of a tile are kept until its backward pass.
    """
    if device.type != "cpu":
        return MEMORY_TILE
    if not matcher.forms_vectors:
        return CACHE_TILE
    return GRAPH_TILE if graph else VECTOR_TILE


def floats_per_word(matcher: Matcher, regions: Fragments) -> int:
    """Return how many floats of that tensor one word takes with these images."""
    images, count, width = regions.vectors.shape
    return images * max(count, width if matcher.forms_vectors else 0)


def caption_tiles(lens: Tensor, per_word: int, floats: int) -> Iterator[slice]:
    """Yield runs of captions, given from short to long, whose largest tensor fits ``floats``."""
    longest, start = lens.tolist(), 0
    for stop in range(1, len(longest) + 1):
        if stop == len(longest) or (stop + 1 - start) * longest[stop] * per_word > floats:
            yield slice(start, stop)
            start = stop


def chunked(regions: Fragments) -> list[Fragments]:
    """Return the regions of images in chunks of as many images as a tile has on their device."""
    return regions.chunks(_images_per_tile(regions.vectors.device))


def _images_per_tile(device: torch.device) -> int:
    return IMAGES_PER_TILE.get(device.type, IMAGES_PER_TILE["cpu"])


@torch.no_grad()
def encoded_blocks(
    matcher: Matcher, features: np.ndarray, rows: slice = slice(None)
) -> Iterator[tuple[slice, list[Fragments]]]:
    """Yield runs of the images in ``rows`` and their regions, in chunks the size of a tile.

    A run has as many images as fit the `ENCODED_FLOATS` of the device.

    Shapes: ``features [I, R, F]`` (a memory map is read piece by piece); chunks ``[i, R, D]``.
    """
    device = next(matcher.parameters()).device
    max_floats = ENCODED_FLOATS.get(device.type, ENCODED_FLOATS["cpu"])
    first, last, _ = rows.indices(len(features))
    chunks: list[Fragments] = []
    floats = 0
    for start in range(first, last, REGIONS_AT_ONCE):
        stop = min(start + REGIONS_AT_ONCE, last)
        regions = encode_regions(matcher, features[start:stop])
        chunks += chunked(regions)
        floats += regions.vectors.numel()
        release(features)
        if stop == last or floats + regions.vectors.numel() > max_floats:
            yield slice(first, stop), chunks
            first, floats, chunks = stop, 0, []


def encode_regions(matcher: Matcher, features: Any) -> Fragments:
    """Return the regions ``[i, r, D]`` of the images ``features [i, R, F]``, in one piece.

    Of `RaggedRegions` padding is masked, and cut off beyond the largest number of regions.
    """
    lens, device = region_lens(features), next(matcher.parameters()).device
    if lens is None:
        return matcher.regions(torch.from_numpy(np.array(features, np.float32)).to(device))
    values = torch.from_numpy(np.array(features, np.float32)[:, : lens.max()])
    return matcher.regions(values.to(device), torch.from_numpy(lens), masked=True)


def encode_images(matcher: Matcher, features: np.ndarray) -> list[Fragments]:
    """Return the regions of all images, encoded, in chunks the size of a tile, ``[i, R, D]``."""
    return [chunk for _, chunks in encoded_blocks(matcher, features) for chunk in chunks]


@torch.no_grad()
def encode_captions(
    matcher: Matcher, captions: Sequence[Sequence[int]] | Captions
) -> Iterator[tuple[np.ndarray, Fragments]]:
    """Yield the columns ``[c]`` of captions and their words, encoded, ``[c, L, D]``.

    In blocks of `CAPTIONS_AT_ONCE`, short captions first.
    """
    device = next(matcher.parameters()).device
    for columns, ids, lens in Captions.of(captions).blocks:
        yield columns, matcher.words(ids.to(device), lens)


def image_shards(images: int, parts: int) -> list[slice]:
    """Return the rows of each of ``parts`` shards of a gallery, one after the other.

    With enough images the borders are those of chunks, so that every image is in the same matrix
    product as without shards, and its scores are the same to the last bit.

    >>> image_shards(10, 3), image_shards(3000, 2)
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
    captions: Sequence[Sequence[int]] | Captions,
    *,
    rows: slice = slice(None),
    precision: str = "float32",
    progress: bool = False,
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield images, the columns ``[c]`` of captions, and their scores ``[i, c]``, block by block.

    The images in ``rows`` come in order, each run of them with all captions before the next. The
    matcher must be in evaluation mode; other arguments as for `score_matrix`.
    """
    device = next(matcher.parameters()).device
    captions = Captions.of(captions)
    pairs = len(range(*rows.indices(len(features)))) * len(captions)
    with tqdm(
        total=pairs, desc="scoring", unit="pair", unit_scale=True, leave=False, disable=not progress
    ) as bar:
        for images, regions in encoded_blocks(matcher, features, rows):
            for columns, words in encode_captions(matcher, captions):
                # set for each block, so that code of the caller between blocks is not affected
                with matmul_precision(device, precision):
                    scores = score_fragments(matcher, regions, words).float().cpu()
                yield images, columns, scores.numpy()
                bar.update(scores.numel())
            del regions  # before the next ones are encoded


def score_matrix(
    matcher: Matcher,
    features: np.ndarray,
    captions: Sequence[Sequence[int]] | Captions,
    *,
    precision: str = "float32",
    progress: bool = False,
    devices: Sequence[torch.device] = (),
    compile: bool = False,
) -> np.ndarray:
    """Return the scores ``[I, C]`` (float32) of every image with every caption.

    Args:
        features: ``[I, R, F]`` region features, in memory or mapped.
        captions: token ids of each caption, ``<start>`` and ``<end>`` included; `Captions` where
            they are scored more than once.
        precision: see `matmul_precision`; ``tf32`` moves few ranks. ``bfloat16`` is faster by a
            third or more where the hardware supports it, but many ranks move: not for reported
            numbers.
        devices: each scores a shard of the images (see `image_shards`) at the same time; by
            default the matcher's device scores all.
        compile: score through `compiled`, for long jobs where the benchmark says that it pays.

    Raises `InputError` for another precision.
    """
    one_of("precision", precision, PRECISIONS)
    captions = Captions.of(captions)
    scores = np.empty((len(features), len(captions)), np.float32)

    def fill(scorer: Matcher, rows: slice, show: bool) -> None:
        """Compute the scores of the images in ``rows``."""
        scorer = compiled(scorer) if compile else scorer
        blocks = score_blocks(
            scorer, features, captions, rows=rows, precision=precision, progress=show
        )
        for images, columns, block in blocks:
            scores[images, columns] = block

    shards = image_shards(len(features), min(len(devices), len(features)) or 1)
    with evaluating(matcher):
        copies = [copy.deepcopy(matcher).to(device) for device in devices[: len(shards)]]
        if len(shards) == 1:
            fill(copies[0] if copies else matcher, shards[0], progress)
        else:
            show = [progress, *[False] * (len(shards) - 1)]
            # the precision is the process's: set around the threads, which find it and leave it
            with matmul_precision(devices[0], precision), ThreadPoolExecutor(len(shards)) as pool:
                list(pool.map(fill, copies, shards, show))
    return scores
