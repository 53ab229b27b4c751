"""Search with a finished run: the best images of a sentence, the best captions of an image, why.

A query is met with the whole gallery as `scoring.score_matrix` does it, and the best few are
explained in one batch. The sentence may be the reader's own.

Page: "The gallery".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd

from itm_book.pairs.pair_records import PairRecord, records_of
from itm_book.search.sentences import require_sentence
from itm_book.tables import report
from itm_core.data.dataset import Split
from itm_core.encoders.fragments import Fragments
from itm_core.errors import InputError
from itm_core.evaluation.rank_correlation import spearman
from itm_core.evaluation.scoring import encode_captions, encode_images, pad, score_fragments
from itm_core.experiments.prepare import encode, run_features
from itm_core.experiments.runs import Run

BEST = 5  # results that are shown and explained


@dataclass(frozen=True, eq=False)
class Hit:
    """One result.

    Attributes:
        place: where it stands, among the images or among the captions of the split.
        image: the place of its image.
        right: whether image and caption belong together; None where nobody knows.
        unknown: for each word whether the method's vocabulary lacks it.
        record: how the pair came to its score.
    """

    place: int
    image: int
    right: bool | None
    unknown: list[bool]
    record: PairRecord


@dataclass(frozen=True, eq=False)
class Found:
    """What a method found for one query.

    Attributes:
        asked: the sentence, or the id of the image.
        wanted: ``images`` or ``captions``.
        hits: the best, best first.
        rank: of the first right one among all, from 1; None where nothing is known to be right.
        of: how many were ranked.
    """

    name: str
    asked: str
    wanted: str
    hits: list[Hit]
    rank: int | None
    of: int


class Searcher:
    """Searches a split with a run; images and captions are encoded once.

    Args:
        run: any finished run. One without attention finds, and can explain nothing.
        split: the gallery.
        name: what the method is called beside others; by default its recipe.

    Raises `InputError` for a split with other features than the run was trained on.
    """

    def __init__(self, run: Run, split: Split, *, name: str | None = None) -> None:
        self.run, self.split, self.name = run, split, name or run.recipe.name
        self._features = run_features(run, split)
        self._matcher = run.matcher()

    @cached_property
    def _regions(self) -> list[Fragments]:
        return encode_images(self._matcher, self._features)

    @cached_property
    def _words(self) -> list[tuple[np.ndarray, Fragments]]:
        return list(encode_captions(self._matcher, encode(self.split, self.run.vocabulary)))

    def scores_of_images(self, sentence: str) -> np.ndarray:
        """Return the score of every image with a sentence, ``[I]``.

        Raises `InputError` for a sentence without a word that the run knows, or with more than a
        caption may have.
        """
        require_sentence(self.run.vocabulary, sentence)
        words = self._matcher.words(*pad([self.run.vocabulary.encode(sentence)]))
        return score_fragments(self._matcher, self._regions, words).numpy()[:, 0]

    def scores_of_captions(self, image: int) -> np.ndarray:
        """Return the score of every caption with an image, ``[C]``.

        Raises `InputError` for an image that the split does not have.
        """
        self.split.place(image, 0)
        regions = encode_images(self._matcher, self._features[image : image + 1])
        scores = np.empty(len(self.split.captions), np.float32)
        for places, words in self._words:
            scores[places] = score_fragments(self._matcher, regions, words).numpy()[0]
        return scores

    def images_for(self, sentence: str, count: int = BEST) -> Found:
        """Return the best images of a sentence.

        The images that the split captions with this very sentence are right; for any other
        sentence nobody has said which is. Raises `InputError` as `scores_of_images` does.
        """
        sentence = sentence.strip()
        own = {
            int(image)
            for image, text in zip(self.split.caption_image, self.split.captions, strict=True)
            if text.strip() == sentence
        }
        right = np.isin(np.arange(len(self.split.regions)), list(own)) if own else None
        scores = self.scores_of_images(sentence)
        order = report.best(scores, len(scores))
        pairs = [(int(image), sentence) for image in order[: _some(count)]]
        return self._found(sentence, "images", order, pairs, right)

    def captions_for(self, image: int, count: int = BEST) -> Found:
        """Return the best captions of an image; its own are right.

        Raises `InputError` for an image that the split does not have.
        """
        scores = self.scores_of_captions(image)
        order = report.best(scores, len(scores))
        pairs = [(image, self.split.captions[place]) for place in order[: _some(count)]]
        right = self.split.caption_image == image
        return self._found(self.split.ids[image], "captions", order, pairs, right)

    def _found(
        self,
        asked: str,
        wanted: str,
        order: np.ndarray,
        pairs: Sequence[tuple[int, str]],
        right: np.ndarray | None,
    ) -> Found:
        """Explain the best ``pairs``, and count where the first right one stands in ``order``."""
        records = records_of(
            self.run, self.split, pairs, name=self.name, matcher=self._matcher, small=True
        )
        hits = [
            Hit(
                place=int(place),
                image=image,
                right=None if right is None else bool(right[place]),
                unknown=self.run.vocabulary.unknown(text),
                record=record,
            )
            for place, (image, text), record in zip(order, pairs, records, strict=False)
        ]
        rank = None if right is None else int(right[order].argmax()) + 1
        return Found(self.name, asked, wanted, hits, rank, len(order))


def _some(count: int) -> int:
    if count < 1:
        raise InputError("no such number of results", expected="1 or more", found=count)
    return count


def agreement(searchers: Sequence[Searcher], sentences: Sequence[str]) -> pd.DataFrame:
    """Return how alike the images are that two of some sentences find, a row for each two.

    Columns: ``method``, the two sentences, how many of the `BEST` images they share, and the rank
    correlation of all scores (Spearman; empty where all scores of a sentence are equal).
    """
    rows = []
    for search in searchers:
        scores = {text: search.scores_of_images(text) for text in dict.fromkeys(sentences)}
        for (one, here), (other, there) in combinations(scores.items(), 2):
            shared = np.intersect1d(report.best(here, BEST), report.best(there, BEST))
            alike = spearman(here, there)
            row = {"method": search.name, "one sentence": one, "the other": other}
            row |= {"shared": f"{len(shared)} of {min(BEST, len(here))}"}
            row |= {"rank correlation": "" if np.isnan(alike) else f"{alike:.3f}"}
            rows.append(row)
    table = pd.DataFrame(rows)
    table.attrs["wrap"] = ["one sentence", "the other"]
    return table
