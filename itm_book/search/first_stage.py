"""A pooled embedding for any matcher: one vector a side whose product stands for the fine score.

The score of a caption is gathered from its words, and words that mean the same ask the same of
an image. So a few hundred *anchors*, centres of the words of training captions, are shown to
every image, as words are: each anchor looks at the regions softly, and its cosine with what it saw
is one of the image's features f. A caption's features g say how near its words are to the anchors,
averaged over the words. The mean region and the mean word are features too: a matcher whose
attention is nearly even needs little else. Between the two sides stands one matrix M, the ridge
regression of the matcher's own scores::

    score(image, caption) ~ (f - mean f)' M g,    M = X Y',  rank P

X and Y are then the image's and the caption's vectors of width P. Nothing is trained by steps and
no label is asked for: M is fitted to the scores that the matcher gives some images of the gallery
with some training captions, in seconds.

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
LOOK = 5.0  # temperature of an anchor's attention over the regions
NEAR = 5.0  # temperature of a word's nearness to the anchors
IMAGE_RIDGE, CAPTION_RIDGE = 1e-2, 1e-3  # shares of the mean variance of a feature
ROUNDS = 15  # of k-means
IMAGES_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class FirstStage:
    """Vectors of images and captions whose dot product orders the images of a caption.

    The product follows the fine score only up to a number for each caption, which orders nothing.

    Attributes:
        anchors: ``[K, D]`` at unit length.
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
        return (_seen(self.anchors, regions) - self.centre) @ self.image_map

    @torch.no_grad()
    def captions(self, words: Fragments) -> Tensor:
        """Return the vectors ``[C, P]`` of captions."""
        return _said(self.anchors, words) @ self.caption_map

    def save(self, path: Path) -> None:
        """Write the four arrays as safetensors, whole or not at all."""
        with whole_file(path) as partial:
            save_file({f.name: getattr(self, f.name).contiguous() for f in fields(self)}, partial)

    @classmethod
    def load(cls, path: Path) -> FirstStage:
        """Return what `save` wrote.

        Raises `InputError` when it is not there, may not be read, or is damaged.
        """
        with reading(path, "no first stage here", "build the index again"), path.open("rb"):
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
    """Return the first stage that follows the matcher's scores of some images and captions.

    Args:
        regions: a sample of the gallery; no caption of theirs is asked for.
        words: training captions.
        width: P, at most the number of features.
        anchors: K, at most the number of words.

    Raises `InputError` for fewer than two images or captions.
    """
    if min(len(regions.lens), len(words.lens)) < 2:
        raise InputError(
            "too little to fit a first stage to",
            expected="2 images and 2 captions or more",
            found=f"{len(regions.lens)} and {len(words.lens)}",
        )
    scores = score_fragments(matcher, chunked(regions), words).double()
    centres = _centres(l2norm(words.vectors[words.mask]), anchors, seed)
    seen, said = _seen(centres, regions).double(), _said(centres, words).double()
    middle = seen.mean(0)
    seen = seen - middle
    # captions count alike, and what is added to all images of a caption orders nothing
    scores = scores - scores.mean(0)
    scores = scores / scores.std(0).clamp_min(TINY)
    image_map, caption_map = _low_rank(seen, said, scores, min(width, len(middle)))
    return FirstStage(centres, middle.float(), image_map.float(), caption_map.float())


def _low_rank(seen: Tensor, said: Tensor, scores: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return X and Y ``[K + D, P]`` with ``seen X Y' said'`` nearest to the scores ``[I, C]``.

    The ridge solution is cut to rank P where its predictions vary most, not its entries: the
    singular values are those of M between the whitened features.
    """
    one, two = _ridged(seen, IMAGE_RIDGE), _ridged(said, CAPTION_RIDGE)
    middle = torch.linalg.solve(one, seen.T @ scores @ said)
    middle = torch.linalg.solve(two, middle.T).T
    left, right = torch.linalg.cholesky(one), torch.linalg.cholesky(two)
    u, s, v = torch.linalg.svd(left.T @ middle @ right)
    root = s[:width].sqrt()
    X = torch.linalg.solve_triangular(left.T, u[:, :width] * root, upper=True)
    Y = torch.linalg.solve_triangular(right.T, v[:width].T * root, upper=True)
    return X, Y


def _ridged(features: Tensor, share: float) -> Tensor:
    gram = features.T @ features
    ridge = share * gram.diagonal().mean() + TINY
    return gram + ridge * torch.eye(len(gram), dtype=gram.dtype)


def _seen(anchors: Tensor, regions: Fragments) -> Tensor:
    """Return the features of images ``[I, K + D]``: what anchors see, and the mean region.

    What an anchor sees is told by its cosine with it; the mean is taken at unit length.
    """
    found = []
    for chunk in regions.chunks(IMAGES_AT_ONCE):
        V = l2norm(chunk.vectors)
        dots = anchors @ V.mT  # [i, K, R]
        shown = dots * LOOK
        if chunk.ragged:
            shown = shown.masked_fill(~chunk.mask[:, None], -torch.inf)
        weights = shown.softmax(-1)
        towards = (weights * dots).sum(-1)
        cosines = towards / length(weights @ V).squeeze(-1).clamp_min(TINY)
        found.append(torch.cat([cosines, l2norm(V.sum(1))], 1))
    return torch.cat(found)


def _said(anchors: Tensor, words: Fragments) -> Tensor:
    """Return the features of captions ``[C, K + D]``, of each the mean over its words.

    How near a word is to the anchors, and the word itself at unit length.
    """
    W = l2norm(words.vectors)
    near = (W @ anchors.T * NEAR).softmax(-1)
    mask = words.mask[..., None]
    return (torch.cat([near, W], -1) * mask).sum(1) / mask.sum(1).clamp_min(1)


def _centres(words: Tensor, count: int, seed: int) -> Tensor:
    """Return k-means centres ``[K, D]`` of unit vectors ``[N, D]``, at unit length."""
    draw = torch.Generator().manual_seed(seed)
    centres = words[torch.randperm(len(words), generator=draw)[:count]].clone()
    for _ in range(ROUNDS):
        nearest = (words @ centres.T).argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, words)
        empty = sums.abs().sum(1, keepdim=True) == 0  # a centre that nothing is near stays
        centres = l2norm(torch.where(empty, centres, sums))
    return centres
