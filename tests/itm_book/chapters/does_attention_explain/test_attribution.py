"""Attributions against slow loops, a matcher with known terms, and completeness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from itm_book.chapters.does_attention_explain.attribution import (
    Probe,
    Queries,
    attention,
    content_queries,
    deletion_scores,
    integrated_gradients,
    occlusion,
    overlapping_regions,
    score_without,
    spread_captions,
    t2i_output,
)
from itm_core.data.dataset import Dataset, load_dataset
from itm_core.data.vocabulary import tokenise
from itm_core.encoders.fragments import Fragments
from itm_core.errors import InputError
from itm_core.evaluation.attention_quality import truth
from itm_core.experiments import recipes
from itm_core.experiments.prepare import build
from itm_core.models import DirectionOutput, Matcher, MatchOutput
from itm_core.models.pairing import REGIONS, Matched
from tests.micro import write_dataset

METHODS = ("scan-t2i-mean", "scan-t2i-LSE", "bfan-equal", "chan", "saf", "rar-t2i", "rcar-t2i")
SMALL = ("encoder.embedding=8", "encoder.word_width=8", "matcher.width=4", "regulator.width=4")


@pytest.fixture(scope="module")
def data(scenes_folder: Path) -> Dataset:
    return load_dataset(scenes_folder / "scenes-tiny")


def probe_of(data: Dataset, method: str, pairs: int = 2, words: int | None = 2) -> Probe:
    """Return a matcher with random weights, with queries as for a trained one."""
    changes = SMALL[:2] if method.startswith("vse") else SMALL
    recipe = recipes.get(f"{method}-smoke").replace(*changes)
    regions, width = data.test.regions.shape[1:]
    torch.manual_seed(0)
    matcher = build(recipe, {"feature_width": width, "region_count": regions}, data.vocabulary)
    queries = content_queries(
        recipe, data.vocabulary, data.test, spread_captions(data.test, pairs), words=words
    )
    return Probe(matcher.eval(), queries)


def scored(
    matcher: Matcher, queries: Queries, n: int, kept_regions: list[int]
) -> tuple[Tensor, Tensor]:
    """Return contributions ``[L]`` and score of one pair with some regions, scored by itself."""
    features, lens = queries.features[n : n + 1, kept_regions], None
    if getattr(matcher.regions.pooling, "count", None):  # fills up with rows that must not matter
        rest = torch.full((1, queries.regions - len(kept_regions), features.shape[2]), 7.0)
        features, lens = torch.cat([features, rest], 1), torch.tensor([len(kept_regions)])
    tokens = queries.tokens[n : n + 1, : queries.lens[n]]
    with torch.no_grad():
        words = matcher.words(tokens, queries.lens[n : n + 1])
        match = matcher.explain(matcher.regions(features, lens), words)
    contribution = t2i_output(match).contribution
    assert contribution is not None
    return contribution[0, :, 0, 0], match.score[0, 0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("copies", [False, True])
def test_occlusion_is_the_difference_of_two_scores(
    data: Dataset, method: str, copies: bool
) -> None:
    probe = probe_of(data, method)
    queries, groups = probe.queries, probe.queries.overlapping
    assert groups is not None
    lost, lost_by_score = occlusion(probe, groups if copies else None)
    everything = list(range(queries.regions))
    for r in (0, 5, queries.regions - 1):
        for m, (n, word) in enumerate(
            zip(queries.pair.tolist(), queries.word.tolist(), strict=True)
        ):
            removed_regions = groups[n, r].nonzero().flatten().tolist() if copies else [r]
            full, score = scored(probe.matcher, queries, n, everything)
            rest = [k for k in everything if k not in removed_regions]
            less, lower = scored(probe.matcher, queries, n, rest)
            assert lost[m, r].item() == pytest.approx((full - less)[word].item(), abs=2e-6)
            assert lost_by_score[n, r].item() == pytest.approx((score - lower).item(), abs=2e-6)


@pytest.mark.parametrize("method", METHODS)
def test_integrated_gradients_are_complete(data: Dataset, method: str) -> None:
    probe = probe_of(data, method)
    queries, matcher = probe.queries, probe.matcher
    values, missed = integrated_gradients(probe, steps=64)
    mean = queries.features.mean((0, 1)).expand(queries.regions, -1)
    blank = Queries(**vars(queries) | {"features": mean.expand(len(queries.image), -1, -1)})
    size = values.abs().sum(1)
    jumps = method.startswith("bfan")  # at its gate, which no slope sees
    for m, (n, word) in enumerate(zip(queries.pair.tolist(), queries.word.tolist(), strict=True)):
        everything = list(range(queries.regions))
        contribution = scored(matcher, queries, n, everything)[0][word]
        start = scored(matcher, blank, n, everything)[0][word]
        assert missed[m].item() == pytest.approx(
            (values[m].sum() - (contribution - start)).item(), abs=2e-6
        )
        assert jumps or abs(missed[m]) <= 0.02 * size[m] + 1e-6


def test_batches_do_not_change_gradients(data: Dataset) -> None:
    probe = probe_of(data, "scan-t2i-mean")
    full = integrated_gradients(probe, steps=4)[0]
    few = integrated_gradients(probe, steps=4, rows_per_batch=4)[0]
    torch.testing.assert_close(full, few)


@pytest.mark.parametrize("method", ["scan-t2i-mean", "chan", "saf", "rcar-t2i"])
def test_deletion_follows_the_order(data: Dataset, method: str) -> None:
    probe = probe_of(data, method)
    queries = probe.queries
    torch.manual_seed(1)
    orders = [torch.rand(len(queries.image), queries.regions).argsort(1) for _ in range(2)]
    removed = [0, 3, queries.regions - 1]
    curves = deletion_scores(probe, orders, removed)
    for k, order in enumerate(orders):
        for at, removed_regions in enumerate(removed):
            for n in range(len(queries.image)):
                rest = sorted(order[n, removed_regions:].tolist())
                score = scored(probe.matcher, queries, n, rest)[1].item()
                assert curves[k, at, n] == pytest.approx(score, abs=2e-6)


def test_attention_is_that_of_the_score(data: Dataset) -> None:
    probe = probe_of(data, "rcar-t2i")
    queries = probe.queries
    weights, overall = attention(probe)
    n, word = queries.pair[-1], queries.word[-1]
    tokens = queries.tokens[n : n + 1, : queries.lens[n]]
    with torch.no_grad():
        match = probe.matcher.explain(
            probe.matcher.regions(queries.features[n : n + 1]),
            probe.matcher.words(tokens, queries.lens[n : n + 1]),
        )
    weights_alone = match.directions[0].weights[0, :, 0]
    torch.testing.assert_close(weights[-1], weights_alone[word])
    torch.testing.assert_close(overall[n], weights_alone.mean(0))


def test_the_same_twice_to_the_bit(data: Dataset) -> None:
    first, again = (probe_of(data, "rcar-t2i") for _ in range(2))
    for measure in (attention, occlusion, integrated_gradients):
        for a, b in zip(measure(first), measure(again), strict=True):
            assert torch.equal(a, b)


# --- a matcher with known terms -------------------------------------------------------------


class Adding(torch.nn.Module):
    """The contribution of a word is the sum of its dot products with all regions."""

    class Regions(torch.nn.Module):
        pooling = None

        def forward(self, features: Tensor, lens: Tensor | None = None) -> Fragments:
            return Fragments.of(features, lens)

    def __init__(self) -> None:
        super().__init__()
        self.regions = self.Regions()
        self.table = torch.arange(12.0).view(4, 3) / 7

    def words(self, tokens: Tensor, lens: Tensor) -> Fragments:
        return Fragments.of(self.table[tokens], lens)

    def match(self, pairing: Matched) -> MatchOutput:
        shares = pairing.dot().sum(3, keepdim=True)
        score = shares.sum((1, 3))
        output = DirectionOutput(
            REGIONS, (), score, contribution=shares, bias=torch.zeros_like(score)
        )
        return MatchOutput(score, [output])


def additive_probe() -> Probe:
    torch.manual_seed(0)
    queries = Queries(
        image=np.arange(2),
        caption=np.arange(2),
        features=torch.randn(2, 4, 3),
        tokens=torch.tensor([[1, 2, 3], [3, 1, 0]]),
        lens=torch.tensor([3, 2]),
        pair=torch.tensor([0, 0, 1]),
        word=torch.tensor([1, 2, 0]),
        overlapping=None,
        relevant=None,
    )
    matcher: Any = Adding()
    return Probe(matcher, queries)


def test_of_a_sum_every_attribution_is_its_term() -> None:
    probe = additive_probe()
    queries = probe.queries
    word = probe.words.vectors[queries.pair, queries.word]
    parts = torch.einsum("mrd,md->mr", queries.features[queries.pair], word)
    lost, lost_by_score = occlusion(probe)
    torch.testing.assert_close(lost, parts)
    total = torch.einsum("nrd,nld->nr", queries.features, probe.words.vectors)
    torch.testing.assert_close(lost_by_score, total)
    mean = queries.features.mean((0, 1))
    values, missed = integrated_gradients(probe, steps=3)
    torch.testing.assert_close(values, parts - (word @ mean)[:, None])
    torch.testing.assert_close(missed, torch.zeros(3), atol=1e-5, rtol=0)


def test_groups_of_regions_are_removed_together() -> None:
    probe = additive_probe()
    groups = torch.eye(4, dtype=torch.bool).repeat(2, 1, 1)
    groups[:, 0, 3] = True  # region 0 takes region 3 along, not the reverse
    alone, both = occlusion(probe)[0], occlusion(probe, groups)[0]
    torch.testing.assert_close(both[:, 0], alone[:, 0] + alone[:, 3])
    torch.testing.assert_close(both[:, 1:], alone[:, 1:])


def test_no_image_loses_all_regions() -> None:
    with pytest.raises(InputError, match="all regions are removed"):
        score_without(additive_probe(), torch.ones(2, 4, dtype=torch.bool))


# --- queries -----------------------------------------------------------------------------------


def test_overlapping_regions_by_hand() -> None:
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 6], [8, 8, 20, 20], [5, 5, 5, 5]]])
    values = overlapping_regions(boxes)[0]
    expected = torch.eye(4, dtype=torch.bool)
    expected[0, 1] = expected[1, 0] = True  # 60 of 100; a box without area is at least itself
    assert torch.equal(values, expected)


def test_where_all_overlap_a_region_is_removed_alone() -> None:
    boxes = np.tile(np.array([0, 0, 4, 4]), (1, 3, 1))
    assert torch.equal(overlapping_regions(boxes)[0], torch.eye(3, dtype=torch.bool))


def test_queries_are_content_words_with_their_truth(data: Dataset) -> None:
    split = data.test
    captions = spread_captions(split, 5)
    assert len(set(split.caption_image[captions])) == 5
    assert len({int(split.caption_number[k]) for k in captions}) == 5
    queries = content_queries(recipes.get("saf-smoke"), data.vocabulary, split, captions)
    ground_truth, references = truth(split), split.words()
    assert ground_truth is not None
    assert references is not None
    assert queries.relevant is not None
    for m, (n, word) in enumerate(zip(queries.pair.tolist(), queries.word.tolist(), strict=True)):
        token = tokenise(split.captions[captions[n]])[word - 1]
        assert data.vocabulary.encode(token)[1] == queries.tokens[n, word]
        assert references[captions[n]][word - 1]
        np.testing.assert_array_equal(queries.relevant[m], ground_truth[0][captions[n]][word])
    few = content_queries(recipes.get("saf-smoke"), data.vocabulary, split, captions, words=2)
    assert (np.bincount(few.pair) <= 2).all()
    assert len(spread_captions(split, 10_000)) == len(split.regions)


def test_without_boxes_and_truth_the_words_are_still_queries(tmp_path: Path) -> None:
    micro = load_dataset(write_dataset(tmp_path))
    queries = content_queries(recipes.get("saf-smoke"), micro.vocabulary, micro.test, [0, 6])
    assert queries.overlapping is None
    assert queries.relevant is None
    captions = [tokenise(micro.test.captions[k]) for k in (0, 6)]
    words = [
        captions[n][w - 1]
        for n, w in zip(queries.pair.tolist(), queries.word.tolist(), strict=True)
    ]
    assert words == [w for caption in captions for w in caption if w.isalpha() and w != "a"]


@pytest.mark.parametrize("method", ["scan-i2t-mean", "vse-gpo"])
def test_a_method_without_words_as_queries_is_refused(data: Dataset, method: str) -> None:
    with pytest.raises(InputError, match="words are no queries"):
        occlusion(probe_of(data, method))


def test_no_pairs_and_no_words_are_refused(data: Dataset) -> None:
    with pytest.raises(InputError, match="pairs"):
        spread_captions(data.test, 0)
    with pytest.raises(InputError, match="no word to attribute"):
        content_queries(recipes.get("saf-smoke"), data.vocabulary, data.test, [0], words=0)
