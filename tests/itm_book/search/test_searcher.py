"""Searching with a run: the ranking is that of the score matrix, and what decided adds up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itm_book.chapters.retrieval_gallery import agreement
from itm_book.pairs.pair_records import PairRecord
from itm_book.search.searcher import Searcher
from itm_core.data.dataset import Split, load_dataset
from itm_core.errors import InputError
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments.runs import train_or_load
from tests.micro import SMALL, write_dataset

METHODS = ("scan-t2i-mean", "scan-i2t-mean", "bfan-equal", "rcar-t2i", "chan", "saf", "vse-mean")
OWN = "a giraffe near a red ball"
UNKNOWN = [False, True, True, False, False, False]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("search") / "micro")


@pytest.fixture(scope="module")
def split(folder: Path) -> Split:
    return load_dataset(folder).test


def searcher(folder: Path, split: Split, method: str = "scan-t2i-mean") -> Searcher:
    run = train_or_load(
        folder, f"{method}-smoke", root=folder / "runs", overrides=SMALL, device="cpu",
        progress=False,
    )  # fmt: skip
    return Searcher(run, split)


def best(scores: np.ndarray, count: int) -> list[int]:
    return sorted(range(len(scores)), key=lambda k: (-scores[k], k))[:count]


@pytest.mark.parametrize("method", METHODS)
def test_the_ranking_is_that_of_the_run(folder: Path, split: Split, method: str) -> None:
    search = searcher(folder, split, method)
    scores, place = search.run.scores, split.place(4, 1)
    column, row = scores[:, place], scores[4]
    np.testing.assert_allclose(
        search.scores_of_images(split.captions[place]), column, atol=1e-5, rtol=0
    )
    np.testing.assert_allclose(search.scores_of_captions(4), row, atol=1e-5, rtol=0)
    images, captions = search.images_for(split.captions[place], 4), search.captions_for(4, 4)
    # where scores are equal to rounding, either order is right
    for found, known in ((images, column), (captions, row)):
        for hit, expected in zip(found.hits, np.sort(known)[::-1], strict=False):
            assert known[hit.place] == pytest.approx(expected, abs=1e-5)
            assert hit.record.score == pytest.approx(expected, abs=1e-5)
    for hit in images.hits:
        assert (hit.image, hit.record.pair.image) == (hit.place, split.ids[hit.place])
    for hit in captions.hits:
        assert (hit.image, hit.record.pair.caption) == (4, split.captions[hit.place])


@pytest.mark.parametrize("method", METHODS)
def test_a_sentence_of_ones_own_is_scored_as_captions_are(
    folder: Path, split: Split, method: str
) -> None:
    search = searcher(folder, split, method)
    run, found = search.run, search.images_for(OWN)
    alone = score_matrix(run.matcher(), split.regions, [run.vocabulary.encode(OWN)])[:, 0]
    assert [hit.place for hit in found.hits] == best(alone, 5)
    for hit in found.hits:
        assert hit.record.score == pytest.approx(alone[hit.place], abs=1e-5)
        assert hit.unknown == UNKNOWN
        assert hit.record.pair.caption == OWN
        assert hit.record.pair.true_boxes is None
        assert hit.right is None
    assert (found.query, found.rank, found.of) == (OWN, None, len(alone))


@pytest.mark.parametrize("method", METHODS)
def test_what_decided_adds_up(folder: Path, split: Split, method: str) -> None:
    search = searcher(folder, split, method)
    hits = [*search.images_for(OWN, 3).hits, *search.captions_for(2, 40).hits]
    assert len({len(hit.record.pair.words) for hit in hits}) > 2  # in one batch, so with padding
    for hit in hits:
        evidence, lost = slow_evidence(hit.record)
        np.testing.assert_allclose(hit.record.evidence(), evidence, atol=1e-7)
        whole = evidence.sum() + lost + hit.record.remainder
        assert whole == pytest.approx(hit.record.score, abs=1e-5)
        assert evidence.any() == (method != "vse-mean")


def slow_evidence(record: PairRecord) -> tuple[np.ndarray, float]:
    """Return what each word gave by each region, one by one, and what went to the ends."""
    evidence, lost = np.zeros((len(record.pair.words), record.pair.regions)), 0.0
    for side in record.directions:
        weights, share = side.weights[-1], side.contribution
        for word in range(len(evidence)):
            for region in range(record.pair.regions):
                query = word if side.direction == "t2i" else region
                evidence[word, region] += weights[word, region] * share[query]
        looked = weights.sum(1 if side.direction == "t2i" else 0)
        lost += float((share * (1 - looked)).sum())
    return evidence, lost


def test_what_is_right_and_where_it_stands(folder: Path, split: Split) -> None:
    search = searcher(folder, split)
    scores = search.run.scores
    for place in (0, 13, 29):
        text = split.captions[place]
        right = {k // 5 for k, other in enumerate(split.captions) if other == text}
        found = search.images_for(f" {text}\n", 12)  # as typed
        assert {hit.place for hit in found.hits if hit.right} == right
        assert not any(hit.right is None for hit in found.hits)
        ranks = [rank for rank, hit in enumerate(found.hits, 1) if hit.right]
        assert found.rank == min(ranks)
    for image in range(4):
        own = scores[image, 5 * image : 5 * image + 5].max()
        captions = search.captions_for(image)
        assert captions.rank == (scores[image] > own + 1e-6).sum() + 1
        rights = [hit.right for hit in captions.hits]
        assert rights == [hit.place // 5 == image for hit in captions.hits]


def test_what_cannot_be_searched_is_refused(folder: Path, split: Split) -> None:
    search = searcher(folder, split)
    for nothing in ("", "  \n"):
        with pytest.raises(InputError, match=r"no sentence.*Remedy: describe a picture"):
            search.images_for(nothing)
    with pytest.raises(InputError, match=r"too long.*found 201"):
        search.images_for("ball " * 201)
    with pytest.raises(InputError, match="no such image"):
        search.captions_for(len(split.ids))
    with pytest.raises(InputError, match="no such number of results"):
        search.images_for(OWN, 0)


def test_sentences_are_compared_two_by_two(folder: Path, split: Split) -> None:
    search = searcher(folder, split)
    texts = ["a red dog", "a red dog .", "a blue kite"]
    table = agreement([search], [*texts, texts[0]])
    assert list(table["first sentence"] + "|" + table["second sentence"]) == [
        f"{texts[i]}|{texts[j]}" for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    for row in table.to_dict("records"):
        here, there = (
            search.scores_of_images(row[name]) for name in ("first sentence", "second sentence")
        )
        ranks = [[(s < one).sum() for one in s] for s in (here, there)]
        assert row["shared"] == f"{len(set(best(here, 5)) & set(best(there, 5)))} of 5"
        assert float(row["rank correlation"]) == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=6e-4)


def test_names_and_more_than_there_are(folder: Path, split: Split) -> None:
    run = searcher(folder, split).run
    found = Searcher(run, split, name="SCAN").images_for(OWN, 10_000)
    assert len(found.hits) == found.of == len(split.ids)
    assert (found.name, found.hits[0].record.name) == ("SCAN", "SCAN")
    plain = Searcher(run, split).captions_for(0)
    assert (plain.name, plain.query) == (run.recipe.name, split.ids[0])
