"""Rank correlation of scores with people's ratings of image-caption pairs (Flickr8k).

Hodosh, Young, Hockenmaier, *Framing Image Description as a Ranking Task*, JAIR 47, 2013. Three
experts rated 5,822 pairs of a test image and a caption of some test image from 1 (unrelated) to 4
(describes it). Work on these ratings since SPICE leaves out the 158 pairs of an image with its own
caption, and so does `read_expert` by default.

Three correlations, all 1 for the same order and 0 for none: Kendall's tau-b (ties of both sides
corrected), Kendall's tau-c (Stuart; for ratings of few values, what CLIPScore prints), Spearman's
rho (ranks of ties averaged). Intervals resample images with all their pairs, because the pairs of
one image are not independent; that a caption is judged with several images is ignored.

Page: "Real photographs".
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itm_book.datasets.caption_sources import photographs
from itm_book.tables.over_images import over_drawn_images
from itm_core.data.dataset import Split
from itm_core.data.photographs import image_key
from itm_core.errors import InputError
from itm_core.evaluation.statistics import Ranked, interval
from itm_core.files import reading
from itm_core.settings import one_of

TAKING = ("each", "mean")
MEASURES = ("tau_b", "tau_c", "spearman")
RESAMPLES = 1000  # as recorded
RATINGS = (1, 2, 3, 4)


@dataclass(frozen=True, eq=False)
class Judgements:
    """Judged pairs of a split.

    Attributes:
        image, caption: ``[N]`` places in the split.
        ratings: ``[N, P]``, one column for each person.
        own: number of pairs of an image with its own caption, left out.
        elsewhere: number of pairs of other splits.
    """

    image: np.ndarray
    caption: np.ndarray
    ratings: np.ndarray
    own: int
    elsewhere: int


@dataclass(frozen=True)
class Agreement:
    """Rank correlations of scores with ratings, each with its 95 % interval."""

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    pairs: int
    images: int

    def flat(self) -> dict[str, float]:
        """Return ``judged_<measure>``, and the ends of its interval by ``_low`` and ``_high``."""
        ends = ("_low", "_high")
        limits = {
            f"judged_{name}{end}": value
            for name, limit in self.intervals.items()
            for end, value in zip(ends, limit, strict=True)
        }
        return {f"judged_{name}": value for name, value in self.values.items()} | limits


def read_expert(path: Path | str, split: Split, *, own: bool = False) -> Judgements:
    """Return the expert judgements (``ExpertAnnotations.txt``, or its ``.gz``) of a split.

    A caption ``name.jpg#k`` is the k-th of its image, counted from 0, in the split's order.

    Args:
        own: keep the pairs of an image with one of its own captions.

    Raises `InputError` for an invalid line, a caption number that the image does not have, or a
    file without any pair of this split.
    """
    path = Path(path)
    place = {name: i for i, name in enumerate(photographs(split))}
    pairs: list[tuple[int, int]] = []
    ratings: list[list[int]] = []
    left_out = elsewhere = 0
    for row, line in enumerate(_lines(path), 1):
        image, of, number, rating = _pair(line, path, row)
        if image not in place or of not in place:
            elsewhere += 1
        elif image == of and not own:
            left_out += 1
        else:
            pairs.append((place[image], split.place(place[of], number)))
            ratings.append(rating)
    if not pairs:
        raise InputError(
            "no judged pair is of this split",
            file=path,
            expected=f"photographs of the {split.name} split of {split.folder}",
            found=f"{elsewhere} pairs of others",
            remedy="ids, or id_mapping.json beside the split, must name the photographs",
        )
    images, captions = np.array(pairs).T
    return Judgements(images, captions, np.array(ratings), left_out, elsewhere)


def _lines(path: Path) -> list[str]:
    with reading(path, "judgements not found"):
        content = path.read_bytes()
    try:
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise InputError("not readable as text", file=path, found=str(error)) from None
    return text.splitlines()


def _pair(line: str, path: Path, row: int) -> tuple[str, str, int, list[int]]:
    """Return the image, the image of the caption, the caption's number, and the ratings."""
    try:
        image, caption, *fields = line.split("\t")
        of, _, number = caption.partition("#")
        ratings = [int(rating) for rating in fields]
        if len(ratings) != 3 or any(rating not in RATINGS for rating in ratings):
            raise ValueError(f"ratings {', '.join(fields) or 'missing'}")
        return image_key(image), image_key(of), int(number), ratings
    except ValueError as error:
        raise InputError(
            "not a judgement",
            file=path,
            row=row,
            expected="image, caption#k and three ratings from 1 to 4, between tabs",
            found=str(error),
        ) from None


def agreement(
    scores: np.ndarray,
    judged: Judgements,
    *,
    taking: str = "each",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """Return the rank correlations of scores ``[I, C]`` with people's ratings of the judged pairs.

    Args:
        taking: ``each`` rating as a separate judgement (as in SPICE and CLIPScore), or the
            ``mean`` of a pair's ratings.

    Raises `InputError` where scores of judged pairs are missing or not finite.
    """
    x = _judged(scores, judged)
    return _agreement(*_resampled(x, judged.ratings, judged, taking, resamples, seed), judged)


def judged_difference(
    scores: np.ndarray,
    other: np.ndarray,
    judged: Judgements,
    *,
    taking: str = "each",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """Return the difference in agreement of two score matrices, on the same resampled images."""
    (value, drawn), (other_value, other_drawn) = (
        _resampled(_judged(matrix, judged), judged.ratings, judged, taking, resamples, seed)
        for matrix in (scores, other)
    )
    return _agreement(value - other_value, drawn - other_drawn, judged)


def between_people(
    judged: Judgements, *, taking: str = "each", resamples: int = RESAMPLES, seed: int = 0
) -> Agreement:
    """Return the agreement of one person's ratings with the others', a mean over the people.

    ``taking`` as in `agreement`, of the others' ratings.
    """
    columns = range(judged.ratings.shape[1])
    pairs = [(judged.ratings[:, p], np.delete(judged.ratings, p, axis=1)) for p in columns]
    resampled = [_resampled(x, y, judged, taking, resamples, seed) for x, y in pairs]
    values, drawn = (np.mean(part, axis=0) for part in zip(*resampled, strict=True))
    return _agreement(values, drawn, judged)


def _agreement(values: np.ndarray, drawn: np.ndarray, judged: Judgements) -> Agreement:
    low, high = interval(drawn) if len(drawn) else (values, values)
    return Agreement(
        {name: float(values[k]) for k, name in enumerate(MEASURES)},
        {name: (float(low[k]), float(high[k])) for k, name in enumerate(MEASURES)},
        pairs=len(judged.image),
        images=len(np.unique(judged.image)),
    )


def _resampled(
    x: np.ndarray, ratings: np.ndarray, judged: Judgements, taking: str, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the correlations ``[3]`` of ``x [N]`` with ratings ``[N, P]``, and those of resampled
    images ``[resamples, 3]``.
    """
    one_of("taking", taking, TAKING)
    y, people = ratings.mean(1), 1
    if taking == "each":
        y, people = ratings.reshape(-1), ratings.shape[1]
    ranked = Ranked.of(x.repeat(people), y)

    def measured(weight: np.ndarray) -> np.ndarray:
        return np.array([*ranked.kendall(weight), ranked.spearman(weight)])

    images = judged.image.repeat(people)
    return measured(np.ones(len(y))), over_drawn_images(measured, images, resamples, seed)


def _judged(scores: np.ndarray, judged: Judgements) -> np.ndarray:
    shape = (int(judged.image.max()) + 1, int(judged.caption.max()) + 1)
    if scores.ndim != 2 or any(s < n for s, n in zip(scores.shape, shape, strict=True)):
        raise InputError(
            "the scores are not those of the judged split",
            expected=f"[I, C] with I >= {shape[0]} and C >= {shape[1]}",
            found=list(scores.shape),
        )
    x = np.asarray(scores[judged.image, judged.caption], np.float64)
    if not np.isfinite(x).all():
        raise InputError("a score of a judged pair is not a number")
    return x
