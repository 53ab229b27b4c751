"""Attributions against slow loops, against a matcher whose parts are known, and against sums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from itm_book.chapters.does_attention_explain.attribution import (
    Queries,
    Subject,
    attention,
    deletion,
    gradients,
    left_out,
    near_copies,
    queries,
    spread,
    without,
    words_look,
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
from tests.scenes_pair import scenes

METHODS = ("scan-t2i-mean", "scan-t2i-LSE", "bfan-equal", "chan", "saf", "rar-t2i", "rcar-t2i")
SMALL = ("encoder.embedding=8", "encoder.word_width=8", "matcher.width=4", "regulator.width=4")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("attribution")
    scenes(folder)
    return load_dataset(folder / "scenes-tiny")


def subject(data: Dataset, method: str, pairs: int = 2, words: int | None = 2) -> Subject:
    """Return a matcher with random weights, which is asked as a trained one would be."""
    changes = SMALL[:2] if method.startswith("vse") else SMALL
    recipe = recipes.get(f"{method}-smoke").replace(*changes)
    regions, width = data.test.regions.shape[1:]
    torch.manual_seed(0)
    matcher = build(recipe, {"feature_width": width, "region_count": regions}, data.vocabulary)
    asked = queries(recipe, data.vocabulary, data.test, spread(data.test, pairs), words=words)
    return Subject(matcher.eval(), asked)


def scored(matcher: Matcher, asked: Queries, n: int, kept: list[int]) -> tuple[Tensor, Tensor]:
    """Return shares ``[L]`` and score of one pair with some regions alone, scored by itself."""
    features, lens = asked.features[n : n + 1, kept], None
    if getattr(matcher.regions.pooling, "count", None):  # fills up with rows that must not matter
        rest = torch.full((1, asked.regions - len(kept), features.shape[2]), 7.0)
        features, lens = torch.cat([features, rest], 1), torch.tensor([len(kept)])
    tokens = asked.tokens[n : n + 1, : asked.lens[n]]
    with torch.no_grad():
        words = matcher.words(tokens, asked.lens[n : n + 1])
        reading = matcher.explain(matcher.regions(features, lens), words)
    share = words_look(reading).contribution
    assert share is not None
    return share[0, :, 0, 0], reading.score[0, 0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("copies", [False, True])
def test_leaving_out_is_scoring_again_without(data: Dataset, method: str, copies: bool) -> None:
    asking = subject(data, method)
    asked, near = asking.asked, asking.asked.near
    assert near is not None
    lost, lost_by_score = left_out(asking, near if copies else None)
    everything = list(range(asked.regions))
    for r in (0, 5, asked.regions - 1):
        for m, (n, word) in enumerate(zip(asked.pair.tolist(), asked.word.tolist(), strict=True)):
            gone = near[n, r].nonzero().flatten().tolist() if copies else [r]
            whole, score = scored(asking.matcher, asked, n, everything)
            rest = [k for k in everything if k not in gone]
            less, lower = scored(asking.matcher, asked, n, rest)
            assert lost[m, r].item() == pytest.approx((whole - less)[word].item(), abs=2e-6)
            assert lost_by_score[n, r].item() == pytest.approx((score - lower).item(), abs=2e-6)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_add_up_to_the_share_less_the_share_of_mean_regions(
    data: Dataset, method: str
) -> None:
    asking = subject(data, method)
    asked, matcher = asking.asked, asking.matcher
    found, missed = gradients(asking, steps=64)
    mean = asked.features.mean((0, 1)).expand(asked.regions, -1)
    blank = Queries(**vars(asked) | {"features": mean.expand(len(asked.image), -1, -1)})
    size = found.abs().sum(1)
    jumps = method.startswith("bfan")  # at its gate, which no slope sees
    for m, (n, word) in enumerate(zip(asked.pair.tolist(), asked.word.tolist(), strict=True)):
        everything = list(range(asked.regions))
        share = scored(matcher, asked, n, everything)[0][word]
        start = scored(matcher, blank, n, everything)[0][word]
        assert missed[m].item() == pytest.approx(
            (found[m].sum() - (share - start)).item(), abs=2e-6
        )
        assert jumps or abs(missed[m]) <= 0.02 * size[m] + 1e-6


def test_batches_do_not_change_gradients(data: Dataset) -> None:
    asking = subject(data, "scan-t2i-mean")
    whole, few = gradients(asking, steps=4)[0], gradients(asking, steps=4, rows_at_once=4)[0]
    torch.testing.assert_close(whole, few)


@pytest.mark.parametrize("method", ["scan-t2i-mean", "chan", "saf", "rcar-t2i"])
def test_deletion_follows_the_order(data: Dataset, method: str) -> None:
    asking = subject(data, method)
    asked = asking.asked
    torch.manual_seed(1)
    orders = [torch.rand(len(asked.image), asked.regions).argsort(1) for _ in range(2)]
    removed = [0, 3, asked.regions - 1]
    curves = deletion(asking, orders, removed)
    for k, order in enumerate(orders):
        for at, gone in enumerate(removed):
            for n in range(len(asked.image)):
                rest = sorted(order[n, gone:].tolist())
                score = scored(asking.matcher, asked, n, rest)[1].item()
                assert curves[k, at, n] == pytest.approx(score, abs=2e-6)


def test_attention_is_that_of_the_score(data: Dataset) -> None:
    asking = subject(data, "rcar-t2i")
    asked = asking.asked
    weights, overall = attention(asking)
    n, word = asked.pair[-1], asked.word[-1]
    tokens = asked.tokens[n : n + 1, : asked.lens[n]]
    with torch.no_grad():
        reading = asking.matcher.explain(
            asking.matcher.regions(asked.features[n : n + 1]),
            asking.matcher.words(tokens, asked.lens[n : n + 1]),
        )
    own = reading.directions[0].weights[0, :, 0]
    torch.testing.assert_close(weights[-1], own[word])
    torch.testing.assert_close(overall[n], own.mean(0))


def test_the_same_twice_to_the_bit(data: Dataset) -> None:
    first, again = (subject(data, "rcar-t2i") for _ in range(2))
    for measure in (attention, left_out, gradients):
        for one, other in zip(measure(first), measure(again), strict=True):
            assert torch.equal(one, other)


# --- a matcher whose parts are known -------------------------------------------------------------


class Adding(torch.nn.Module):
    """The share of a word is the sum of its dot products with the features of all regions."""

    class Regions(torch.nn.Module):
        whole = None

        def forward(self, features: Tensor, lens: Tensor | None = None) -> Fragments:
            return Fragments.of(features, lens)

    def __init__(self) -> None:
        super().__init__()
        self.regions = self.Regions()
        self.table = torch.arange(12.0).view(4, 3) / 7

    def words(self, tokens: Tensor, lens: Tensor) -> Fragments:
        return Fragments.of(self.table[tokens], lens)

    def match(self, pairing: Matched, *, explain: bool = False) -> MatchOutput:
        shares = pairing.dot().sum(3, keepdim=True)
        score = shares.sum((1, 3))
        look = DirectionOutput(
            REGIONS, (), score, contribution=shares, bias=torch.zeros_like(score)
        )
        return MatchOutput(score, [look])


def added() -> Subject:
    torch.manual_seed(0)
    asked = Queries(
        image=np.arange(2),
        caption=np.arange(2),
        features=torch.randn(2, 4, 3),
        tokens=torch.tensor([[1, 2, 3], [3, 1, 0]]),
        lens=torch.tensor([3, 2]),
        pair=torch.tensor([0, 0, 1]),
        word=torch.tensor([1, 2, 0]),
        near=None,
        relevant=None,
    )
    matcher: Any = Adding()
    return Subject(matcher, asked)


def test_of_a_sum_every_part_is_its_own_term() -> None:
    asking = added()
    asked = asking.asked
    word = asking.words.vectors[asked.pair, asked.word]
    parts = torch.einsum("mrd,md->mr", asked.features[asked.pair], word)
    lost, lost_by_score = left_out(asking)
    torch.testing.assert_close(lost, parts)
    whole = torch.einsum("nrd,nld->nr", asked.features, asking.words.vectors)
    torch.testing.assert_close(lost_by_score, whole)
    mean = asked.features.mean((0, 1))
    found, missed = gradients(asking, steps=3)
    torch.testing.assert_close(found, parts - (word @ mean)[:, None])
    torch.testing.assert_close(missed, torch.zeros(3), atol=1e-5, rtol=0)


def test_what_goes_together_is_lost_together() -> None:
    asking = added()
    together = torch.eye(4, dtype=torch.bool).repeat(2, 1, 1)
    together[:, 0, 3] = True  # region 0 takes region 3 along, not the reverse
    alone, both = left_out(asking)[0], left_out(asking, together)[0]
    torch.testing.assert_close(both[:, 0], alone[:, 0] + alone[:, 3])
    torch.testing.assert_close(both[:, 1:], alone[:, 1:])


def test_an_image_keeps_a_region() -> None:
    with pytest.raises(InputError, match="no region is left"):
        without(added(), torch.ones(2, 4, dtype=torch.bool))


# --- what is asked -------------------------------------------------------------------------------


def test_near_copies_by_hand() -> None:
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 6], [8, 8, 20, 20], [5, 5, 5, 5]]])
    found = near_copies(boxes)[0]
    expected = torch.eye(4, dtype=torch.bool)
    expected[0, 1] = expected[1, 0] = True  # 60 of 100; a box without area is at least itself
    assert torch.equal(found, expected)


def test_where_all_are_copies_a_region_goes_alone() -> None:
    boxes = np.tile(np.array([0, 0, 4, 4]), (1, 3, 1))
    assert torch.equal(near_copies(boxes)[0], torch.eye(3, dtype=torch.bool))


def test_queries_are_content_words_with_their_truth(data: Dataset) -> None:
    split = data.test
    captions = spread(split, 5)
    assert len(set(split.caption_image[captions])) == 5
    assert len({int(k) % split.captions_per_image for k in captions}) == 5
    asked = queries(recipes.get("saf-smoke"), data.vocabulary, split, captions)
    known, named = truth(split), split.words()
    assert known is not None
    assert named is not None
    assert asked.relevant is not None
    for m, (n, word) in enumerate(zip(asked.pair.tolist(), asked.word.tolist(), strict=True)):
        token = tokenise(split.captions[captions[n]])[word - 1]
        assert data.vocabulary.encode(token)[1] == asked.tokens[n, word]
        assert named[captions[n]][word - 1]
        np.testing.assert_array_equal(asked.relevant[m], known[0][captions[n]][word])
    few = queries(recipes.get("saf-smoke"), data.vocabulary, split, captions, words=2)
    assert (np.bincount(few.pair) <= 2).all()
    assert len(spread(split, 10_000)) == len(split.regions)


def test_without_boxes_and_truth_the_words_are_still_asked(tmp_path: Path) -> None:
    micro = load_dataset(write_dataset(tmp_path))
    asked = queries(recipes.get("saf-smoke"), micro.vocabulary, micro.test, [0, 6])
    assert asked.near is None
    assert asked.relevant is None
    captions = [tokenise(micro.test.captions[k]) for k in (0, 6)]
    words = [
        captions[n][w - 1] for n, w in zip(asked.pair.tolist(), asked.word.tolist(), strict=True)
    ]
    assert words == [w for caption in captions for w in caption if w.isalpha() and w != "a"]


@pytest.mark.parametrize("method", ["scan-i2t-mean", "vse-gpo"])
def test_a_method_in_which_no_word_asks_is_refused(data: Dataset, method: str) -> None:
    with pytest.raises(InputError, match="no word asks"):
        left_out(subject(data, method))


def test_no_pairs_and_no_words_are_refused(data: Dataset) -> None:
    with pytest.raises(InputError, match="pairs"):
        spread(data.test, 0)
    with pytest.raises(InputError, match="no word to ask"):
        queries(recipes.get("saf-smoke"), data.vocabulary, data.test, [0], words=0)
