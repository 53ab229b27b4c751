"""What a word's share of a score rests on: regions left out one by one, and integrated gradients.

Attention says where a word looks. An *attribution* asks the finished matcher itself, and does not
look at the attention: what becomes of the word's share of the score without this region? Two ways
of asking, both through captum, and both for the words that ask (t2i):

* `left_out`: the region is taken out of the set, as if the detector had never proposed it, and the
  pair is scored again. Nothing is put in its place: any stand-in would be looked at, too. Several
  boxes show the same object, and while one of them is left little may be missing: so a region can
  be taken out together with its near copies (`near_copies`).
* `gradients`: the slope of the share, added up on the straight way from the mean region to the
  regions themselves (integrated gradients).

Letters: N pairs, M queries (words of these pairs), L words, R regions, F features.

Page: "Does attention explain?".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from captum.attr import FeatureAblation, IntegratedGradients
from torch import Tensor

from itm_book.pairs.pair_records import content_words
from itm_core.data.dataset import Split
from itm_core.encoders.fragments import Fragments
from itm_core.errors import InputError
from itm_core.evaluation.attention_quality import IOU, iou, truth
from itm_core.evaluation.scoring import pad
from itm_core.experiments.prepare import Words, features_of
from itm_core.experiments.recipes import Recipe
from itm_core.models import DirectionOutput, Matcher, MatchOutput
from itm_core.models.pairing import REGIONS, Matched
from itm_core.settings import at_least

STEPS = 16  # of integrated gradients: points of a Gauss-Legendre rule
ROWS_AT_ONCE = 1024  # interpolated pairs in one backward pass


@dataclass(frozen=True, eq=False)
class Queries:
    """Some images, each with one caption of its own, and the words that are asked about.

    Attributes:
        image, caption: ``[N]`` places in the split.
        features: ``[N, R, F]`` as the recipe sees them.
        tokens, lens: ``[N, L]`` ids and ``[N]`` lengths, ``<start>`` and ``<end>`` included.
        pair, word: ``[M]`` int64: whose word it is, and which one (``<start>`` is word 0).
        near: ``[N, R, R]`` bool: regions that show nearly the same (IoU of at least one half,
            the region itself too); None without boxes.
        relevant: ``[M, R]`` bool: regions that show what the word names; None where the dataset
            does not know.
    """

    image: np.ndarray
    caption: np.ndarray
    features: Tensor
    tokens: Tensor
    lens: Tensor
    pair: Tensor
    word: Tensor
    near: Tensor | None
    relevant: Tensor | None

    @property
    def regions(self) -> int:
        """R."""
        return self.features.shape[1]


def spread(split: Split, pairs: int) -> np.ndarray:
    """Return ``pairs`` captions, each of another image, spread evenly over a split.

    The first image brings its first caption, the next its second, and so on; all images when
    there are fewer. Raises `InputError` for less than one pair.
    """
    at_least("pairs", pairs, 1)
    image = np.unique(np.linspace(0, len(split.regions) - 1, pairs).round().astype(int))
    return image * split.captions_per_image + np.arange(len(image)) % split.captions_per_image


def queries(
    recipe: Recipe,
    vocabulary: Words,
    split: Split,
    captions: Sequence[int] | np.ndarray,
    *,
    words: int | None = None,
) -> Queries:
    """Return the content words of some captions, to be asked about with their own images.

    ``words`` is how many of a caption at most, spread evenly over it; by default all.
    Raises `InputError` for captions without any, and for images of a single region.
    """
    caption = np.asarray(captions)
    image = split.caption_image[caption]
    at_least("regions of an image", split.regions.shape[1], 2)
    tokens, lens = pad([vocabulary.encode(split.captions[k]) for k in caption])
    asked, named = [], split.words()
    for n, k in enumerate(caption):
        tokens_k = vocabulary.tokens(split.captions[k])
        content = content_words(tokens_k, None if named is None else named[k])
        asked += [(n, place + 1) for place in _some(content, words)]  # behind <start>
    if not asked:
        raise InputError("no word to ask about", found="captions without content words")
    pair, word = torch.tensor(asked).T
    known = truth(split)
    relevant = None if known is None else [known[0][caption[n]][place] for n, place in asked]
    return Queries(
        image=image,
        caption=caption,
        features=torch.from_numpy(np.asarray(features_of(split, recipe)[image], np.float32)),
        tokens=tokens,
        lens=lens,
        pair=pair,
        word=word,
        near=None if split.boxes is None else near_copies(split.boxes[image]),
        relevant=None if relevant is None else torch.from_numpy(np.array(relevant)),
    )


def _some(places: Sequence[int], count: int | None) -> list[int]:
    """Return ``count`` of the places at most, spread evenly."""
    if count is None or len(places) <= count:
        return list(places)
    return [places[k] for k in np.linspace(0, len(places) - 1, count).round().astype(int)]


def near_copies(boxes: np.ndarray, threshold: float = IOU) -> Tensor:
    """Return which regions overlap which, ``[N, R, R]`` bool, of boxes ``[N, R, 4]``.

    A region without which and whose near copies nothing would be left stands alone.
    """
    found = np.stack([iou(one, one) >= threshold for one in boxes.astype(np.float64)])
    alone = np.eye(boxes.shape[1], dtype=bool)
    found |= alone
    return torch.from_numpy(np.where(found.all(2, keepdims=True), alone, found))


@dataclass(frozen=True, eq=False)
class Subject:
    """A matcher in evaluation mode, and what it is asked about."""

    matcher: Matcher
    asked: Queries

    @cached_property
    def words(self) -> Fragments:
        """All captions ``[N, L, D]``, encoded once."""
        with torch.no_grad():
            return self.matcher.words(self.asked.tokens, self.asked.lens)

    def pairs(self, regions: Fragments, rows: Tensor) -> Matched:
        """Return captions ``rows`` paired with ``regions``, row by row."""
        return Matched(regions, self.words.take(rows))

    def shares(self, regions: Fragments, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the words' shares ``[n, L]``, zero behind the last word, and scores ``[n, 1]``."""
        reading = self.matcher.match(self.pairs(regions, rows))
        share = words_look(reading).contribution
        behind = self.asked.tokens.shape[1] - share.shape[1]
        return torch.nn.functional.pad(share[:, :, 0, 0], (0, behind)), reading.score


def words_look(reading: MatchOutput) -> DirectionOutput:
    """Return the direction in which words ask; raises `InputError` for a method without it."""
    found = [look for look in reading.directions if look.key_axis == REGIONS]
    if not found:
        raise InputError(
            "no word asks in this method",
            found="regions ask, or nothing attends",
            expected="t2i, or both directions",
        )
    return found[0]


def without(subject: Subject, absent: Tensor, *, explain: bool = True) -> Tensor:
    """Return what is scored when some regions are not there.

    ``absent [N, R]`` bool; result ``[N, L + 1]``: the words' shares of the score and, last, the
    score. Without ``explain`` the score alone, ``[N, 1]``. Regions keep their order.

    Raises `InputError` when nothing would be left of an image.
    """
    asked, encoder = subject.asked, subject.matcher.regions
    kept = (~absent).sum(1)
    if not kept.min():
        raise InputError("no region is left", expected="at least one of every image", found=0)
    order = absent.int().argsort(dim=1, stable=True)
    # A batch norm for each place of a region (SGRAF's whole image) wants as many places as ever;
    # elsewhere the set is cut, so that padding enters no attention among regions (CHAN's block).
    places = getattr(encoder.pooling, "count", None)
    answers = torch.empty(len(absent), asked.tokens.shape[1] + 1 if explain else 1)
    for count in kept.unique().tolist():
        rows = (kept == count).nonzero().flatten()
        features = asked.features[rows[:, None], order[rows, : places or count]]
        lens = torch.full((len(rows),), count)
        regions = encoder(features, lens if count < features.shape[1] else None)
        if explain:
            answers[rows] = torch.cat(subject.shares(regions, rows), 1)
        else:
            answers[rows] = subject.matcher(subject.pairs(regions, rows))
    return answers


@torch.no_grad()
def attention(subject: Subject) -> tuple[Tensor, Tensor]:
    """Return the attention of the last pass: of the queries ``[M, R]``, of all words ``[N, R]``.

    The second is the mean over all words of a caption.
    """
    asked = subject.asked
    regions, rows = subject.matcher.regions(asked.features), torch.arange(len(asked.image))
    weights = words_look(subject.matcher.match(subject.pairs(regions, rows))).weights[:, :, 0]
    real = (torch.arange(weights.shape[1]) < asked.lens[:, None])[..., None]
    whole = (weights * real).sum(1) / real.sum(1)
    return weights[asked.pair, asked.word], whole


@torch.no_grad()
def left_out(subject: Subject, together: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return what the shares of the queries ``[M, R]``, and the scores ``[N, R]``, lose.

    Entry r is the value with all regions minus that without region r. ``together [N, R, R]`` says
    which others go with it, as `near_copies` does; by default none.
    """
    asked = subject.asked
    count = len(asked.image)
    if together is None:
        together = torch.eye(asked.regions, dtype=torch.bool).expand(count, -1, -1)

    def answer(present: Tensor) -> Tensor:  # [1, R] -> [N (L + 1)]: all pairs at once
        gone = present[0] == 0
        return without(subject, together[:, gone].any(1)).flatten()

    found = FeatureAblation(answer).attribute(torch.ones(1, asked.regions), baselines=0)
    lost = found.view(count, -1, asked.regions)
    return lost[asked.pair, asked.word], lost[:, -1]


def gradients(
    subject: Subject, *, steps: int = STEPS, rows_at_once: int = ROWS_AT_ONCE
) -> tuple[Tensor, Tensor]:
    """Return integrated gradients ``[M, R]`` of the queries' shares, and what they miss ``[M]``.

    The features of a region are added up. The way starts where all regions are the mean region of
    these images: a picture that shows nothing in particular. For a smooth matcher the sum over
    regions is the share less the share there; what is missing from that is the second result.
    """
    asked = subject.asked
    neutral = asked.features.mean((0, 1)).expand_as(asked.features[:1])

    def answer(features: Tensor, query: Tensor) -> Tensor:
        shares, _ = subject.shares(subject.matcher.regions(features), asked.pair[query])
        return shares[torch.arange(len(query)), asked.word[query]]

    found, missed = IntegratedGradients(answer).attribute(
        asked.features[asked.pair],
        baselines=neutral,
        additional_forward_args=torch.arange(len(asked.pair)),
        n_steps=steps,
        internal_batch_size=rows_at_once,
        return_convergence_delta=True,
    )
    return found.sum(2).detach(), missed.detach()


@torch.no_grad()
def deletion(subject: Subject, orders: Sequence[Tensor], removed: Sequence[int]) -> np.ndarray:
    """Return the scores when regions go one after another, ``[orders, len(removed), N]``.

    Args:
        orders: ``[N, R]`` each: the regions of every image, first to go first.
        removed: how many are gone, each fewer than R.
    """
    curves = np.empty((len(orders), len(removed), len(subject.asked.image)), np.float32)
    for k, order in enumerate(orders):
        place = order.argsort(1)  # when each region goes
        for at, gone in enumerate(removed):
            curves[k, at] = without(subject, place < gone, explain=False)[:, 0].numpy()
    return curves
