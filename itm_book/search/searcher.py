"""Search with a finished run: the best images of a sentence, the best captions of an image.

A query is scored against the gallery as in `scoring.score_matrix`; the top results are explained
in one batch. A sentence may be any text.

Page: "The gallery: what is found, and why".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from itm_book.datasets.run_features import run_features
from itm_book.pairs.pair_records import PairRecord, records_of
from itm_book.search.sentences import require_sentence
from itm_book.tables import report
from itm_core.data.dataset import Split
from itm_core.encoders.fragments import Fragments
from itm_core.errors import InputError
from itm_core.evaluation.scoring import encode_captions, encode_images, pad, score_fragments
from itm_core.experiments.prepare import encode
from itm_core.experiments.runs import Run

BEST = 5  # results with an explanation


@dataclass(frozen=True, eq=False)
class Hit:
    """One result.

    Attributes:
        place: index among the images or the captions of the split.
        image: index of its image.
        right: whether image and caption match; None where this is unknown.
        unknown: for each word whether it is missing from the method's vocabulary.
        record: the explanation of the score.
    """

    place: int
    image: int
    right: bool | None
    unknown: list[bool]
    record: PairRecord


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The results of a method for one query.

    Attributes:
        query: the sentence, or the id of the image.
        target: what is retrieved, ``images`` or ``captions``.
        hits: the top results, best first.
        rank: of the first relevant result among all, from 1; None where relevance is unknown.
        of: the number of ranked items.
    """

    name: str
    query: str
    target: str
    hits: list[Hit]
    rank: int | None
    of: int


class Searcher:
    """Searches a split with a run; images and captions are encoded once.

    Args:
        run: any finished run; without attention there are no explanations.
        split: the gallery.
        name: displayed name of the method; by default its recipe.

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

        Raises `InputError` for a sentence without a word of the vocabulary, or longer than a
        caption may be.
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

    def images_for(self, sentence: str, count: int = BEST) -> SearchResult:
        """Return the best images of a sentence.

        Images with this sentence as a caption are relevant; for other sentences relevance is
        unknown. Raises `InputError` as `scores_of_images` does.
        """
        sentence = sentence.strip()
        relevant = {
            int(image)
            for image, text in zip(self.split.caption_image, self.split.captions, strict=True)
            if text.strip() == sentence
        }
        right = np.isin(np.arange(len(self.split.regions)), list(relevant)) if relevant else None
        scores = self.scores_of_images(sentence)
        order = report.best(scores, len(scores))
        pairs = [(int(image), sentence) for image in order[: _some(count)]]
        return self._found(sentence, "images", order, pairs, right)

    def captions_for(self, image: int, count: int = BEST) -> SearchResult:
        """Return the best captions of an image; its own captions are relevant.

        Raises `InputError` for an image that the split does not have.
        """
        scores = self.scores_of_captions(image)
        order = report.best(scores, len(scores))
        pairs = [(image, self.split.captions[place]) for place in order[: _some(count)]]
        right = self.split.caption_image == image
        return self._found(self.split.ids[image], "captions", order, pairs, right)

    def _found(
        self,
        query: str,
        target: str,
        order: np.ndarray,
        pairs: Sequence[tuple[int, str]],
        right: np.ndarray | None,
    ) -> SearchResult:
        """Return the top ``pairs`` with explanations, and the rank of the first relevant item."""
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
        return SearchResult(self.name, query, target, hits, rank, len(order))


def _some(count: int) -> int:
    if count < 1:
        raise InputError("no such number of results", expected="1 or more", found=count)
    return count
