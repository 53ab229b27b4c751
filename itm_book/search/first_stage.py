"""A pooled embedding for any matcher: one vector per image and caption that approximates scores.

The score of a caption is a sum over its words, and words with similar vectors attend to the same
regions. So a few hundred *anchors*, cluster centres of the words of training captions, are used as
queries for every image: each anchor attends to the regions, and its cosine with the attended vector
is one of the image's features f. A caption's features g are the similarities of its words to the
anchors, averaged over the words. The mean region and the mean word are features too; they suffice
for a matcher whose attention is nearly uniform. One matrix M relates both sides, the ridge
regression of the matcher's own scores::

    score(image, caption) ~ (f - mean f)' M g,    M = X Y',  rank P

X and Y map f and g to vectors of width P. There is no iterative training, and no label is used: M
is fitted in seconds to the matcher's scores of some images of the gallery with training captions.

Page: "Search at scale".
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from itm_core.encoders.fragments import TINY, Fragments, l2norm, length
from itm_core.errors import InputError
from itm_core.evaluation.scoring import chunked, score_fragments
from itm_core.files import reading, whole_file
from itm_core.models import Matcher

WIDTH = 64  # P
ANCHORS = 256
# these two were chosen by hand: 60 test captions of Scenes and 40,000 images
ATTENTION_TEMPERATURE = 5.0  # of an anchor's attention over the regions
ANCHOR_TEMPERATURE = 5.0  # of a word's softmax over the anchors
IMAGE_RIDGE, CAPTION_RIDGE = 1e-2, 1e-3  # relative to the mean variance of a feature
ITERATIONS = 15  # of k-means
IMAGES_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class FirstStage:
    """Maps images and captions to vectors whose dot product ranks the images of a caption.

    The product approximates the fine score up to a constant per caption, which does not affect the
    ranking.

    Attributes:
        anchors: ``[K, D]`` with unit norm.
        centre: ``[K + D]`` the mean features of images.
        image_map: ``[K + D, P]`` X.
        caption_map: ``[K + D, P]`` Y.
    """

    anchors: Tensor
    centre: Tensor
    image_map: Tensor
    caption_map: Tensor

    @torch.no_grad()
    def images(self, regions: Fragments) -> Tensor:
        """Return the vectors ``[I, P]`` of images."""
        return (_image_features(self.anchors, regions) - self.centre) @ self.image_map

    @torch.no_grad()
    def captions(self, words: Fragments) -> Tensor:
        """Return the vectors ``[C, P]`` of captions."""
        return _caption_features(self.anchors, words) @ self.caption_map

    def save(self, path: Path) -> None:
        """Write the four arrays as safetensors, atomically."""
        with whole_file(path) as partial:
            save_file({f.name: getattr(self, f.name).contiguous() for f in fields(self)}, partial)

    @classmethod
    def load(cls, path: Path) -> FirstStage:
        """Return the first stage in a file written by `save`.

        Raises `InputError` when it does not exist, cannot be read, or is damaged.
        """
        with (
            reading(path, "no first stage in this folder", "build the index again"),
            path.open("rb"),
        ):
            pass
        try:
            return cls(**load_file(path))
        except Exception as error:  # safetensors raises many kinds
            raise InputError(
                "not a first stage", file=path, found=str(error), remedy="build the index again"
            ) from error


@torch.no_grad()
def fit_first_stage(
    matcher: Matcher,
    regions: Fragments,
    words: Fragments,
    *,
    width: int = WIDTH,
    anchors: int = ANCHORS,
    seed: int = 0,
) -> FirstStage:
    """Return the first stage fitted to the matcher's scores of some images and captions.

    The matcher scores on its device; the rest is computed on the CPU.

    Args:
        regions: a sample of the gallery, without captions.
        words: training captions, on the matcher's device.
        width: P, at most the number of features.
        anchors: K, at most the number of words.

    Raises `InputError` for fewer than two images or captions.
    """
    if min(len(regions.lens), len(words.lens)) < 2:
        raise InputError(
            "too few images or captions to fit a first stage",
            expected="2 images and 2 captions or more",
            found=f"{len(regions.lens)} and {len(words.lens)}",
        )
    there = regions.to(words.vectors.device)
    scores = score_fragments(matcher, chunked(there), words).cpu().double()
    regions, words = regions.to("cpu"), words.to("cpu")
    centres = _centres(l2norm(words.vectors[words.mask]), anchors, seed)
    image_features = _image_features(centres, regions).double()
    caption_features = _caption_features(centres, words).double()
    mean = image_features.mean(0)
    image_features = image_features - mean
    # captions have equal weight; a constant per caption does not affect the ranking
    scores = scores - scores.mean(0)
    scores = scores / scores.std(0).clamp_min(TINY)
    rank = min(width, len(mean))
    image_map, caption_map = _low_rank(image_features, caption_features, scores, rank)
    return FirstStage(centres, mean.float(), image_map.float(), caption_map.float())


def _low_rank(f: Tensor, g: Tensor, scores: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return X and Y ``[K + D, P]`` such that ``f X Y' g'`` approximates scores ``[I, C]``.

    The ridge solution M is truncated to rank P by the singular values of M between the whitened
    features, so that the variance of its predictions is kept.
    """
    image_gram, caption_gram = _ridged(f, IMAGE_RIDGE), _ridged(g, CAPTION_RIDGE)
    M = torch.linalg.solve(image_gram, f.T @ scores @ g)
    M = torch.linalg.solve(caption_gram, M.T).T
    left, right = torch.linalg.cholesky(image_gram), torch.linalg.cholesky(caption_gram)
    u, s, v = torch.linalg.svd(left.T @ M @ right)
    root = s[:width].sqrt()
    X = torch.linalg.solve_triangular(left.T, u[:, :width] * root, upper=True)
    Y = torch.linalg.solve_triangular(right.T, v[:width].T * root, upper=True)
    return X, Y


def _ridged(features: Tensor, relative: float) -> Tensor:
    gram = features.T @ features
    ridge = relative * gram.diagonal().mean() + TINY
    return gram + ridge * torch.eye(len(gram), dtype=gram.dtype)


def _image_features(anchors: Tensor, regions: Fragments) -> Tensor:
    """Return the features of images ``[I, K + D]``.

    The cosine of each anchor with its attended vector, and the normalised sum of the regions.
    """
    features = []
    for chunk in regions.chunks(IMAGES_AT_ONCE):
        V = l2norm(chunk.vectors)
        dots = anchors @ V.mT  # [i, K, R]
        logits = dots * ATTENTION_TEMPERATURE
        if chunk.ragged:
            logits = logits.masked_fill(~chunk.mask[:, None], -torch.inf)
        weights = logits.softmax(-1)
        towards = (weights * dots).sum(-1)
        cosines = towards / length(weights @ V).squeeze(-1).clamp_min(TINY)
        features.append(torch.cat([cosines, l2norm(V.sum(1))], 1))
    return torch.cat(features)


def _caption_features(anchors: Tensor, words: Fragments) -> Tensor:
    """Return the features of captions ``[C, K + D]``, means over the words.

    A softmax over a word's similarities to the anchors, and the normalised word itself.
    """
    W = l2norm(words.vectors)
    nearness = (W @ anchors.T * ANCHOR_TEMPERATURE).softmax(-1)
    mask = words.mask[..., None]
    return (torch.cat([nearness, W], -1) * mask).sum(1) / mask.sum(1).clamp_min(1)


def _centres(words: Tensor, count: int, seed: int) -> Tensor:
    """Return k-means centres ``[K, D]`` of unit vectors ``[N, D]``, with unit norm."""
    draw = torch.Generator().manual_seed(seed)
    centres = words[torch.randperm(len(words), generator=draw)[:count]].clone()
    for _ in range(ITERATIONS):
        nearest = (words @ centres.T).argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, words)
        empty = sums.abs().sum(1, keepdim=True) == 0  # a centre without words is kept
        centres = l2norm(torch.where(empty, centres, sums))
    return centres
