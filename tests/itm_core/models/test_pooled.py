"""Whole vectors compared: every pairing the same, the measures by hand."""

from __future__ import annotations

import pytest
import torch

from itm_core.encoders.encoder import EncoderSettings
from itm_core.encoders.fragments import Fragments
from itm_core.errors import InputError
from itm_core.evaluation.scoring import score_fragments
from itm_core.models import Pooled, PooledSettings
from itm_core.models.pairing import AllPairs, Candidates, Matched

ENCODER = EncoderSettings(embedding=4, word_width=2, image_pooling="mean", text_pooling="last")


def sides() -> tuple[Fragments, Fragments]:
    torch.manual_seed(0)
    regions = Fragments.of(torch.randn(4, 3, 4), pooled=torch.randn(4, 4))
    words = Fragments.of(torch.randn(4, 5, 4), torch.tensor([5, 2, 4, 3]), torch.randn(4, 4))
    return regions, words


@pytest.mark.parametrize("measure", ["cosine", "order"])
def test_all_pairings_and_tiles_give_the_same_scores(measure: str) -> None:
    regions, words = sides()
    matcher = Pooled(3, 5, ENCODER, PooledSettings(measure=measure)).eval()
    every = matcher(AllPairs(regions, words))
    torch.testing.assert_close(matcher(Matched(regions, words))[:, 0], every.diagonal())
    shortlist = torch.tensor([[0, 3], [2, 1], [1, 1], [3, 0]])
    chosen = matcher(Candidates(regions, words, shortlist))
    torch.testing.assert_close(chosen, every.gather(1, shortlist))
    tiled = score_fragments(matcher, regions.chunks(3), words)
    torch.testing.assert_close(tiled, every.T)


def test_measures_by_hand() -> None:
    image, caption = torch.tensor([[0.6, -0.8, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    pair = Matched(
        Fragments.of(torch.zeros(1, 1, 4), pooled=image),
        Fragments.of(torch.zeros(1, 1, 4), pooled=caption),
    )
    scores = {
        (measure, absolute): Pooled(
            3, 5, ENCODER, PooledSettings(measure=measure, absolute=absolute)
        )(pair).item()
        for measure in ("cosine", "order")
        for absolute in (False, True)
    }
    assert scores["cosine", False] == pytest.approx(0.6)
    assert scores["order", False] == pytest.approx(-((0.4**2 + 0.8**2) ** 0.5))
    assert scores["order", True] == pytest.approx(-0.4)


def test_an_explanation_is_the_score_and_nothing_looks() -> None:
    output = Pooled(3, 5, ENCODER, PooledSettings()).explain(*sides())
    assert output.directions == ()
    assert torch.equal(output.total(), output.score)


def test_a_matcher_of_whole_vectors_needs_them() -> None:
    with pytest.raises(InputError, match="a pooling for both"):
        Pooled(3, 5, EncoderSettings(embedding=4), PooledSettings())
