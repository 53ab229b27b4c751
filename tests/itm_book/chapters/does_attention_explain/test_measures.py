"""Measures of agreement on hand-worked cases, and against slow loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from itm_book.chapters.does_attention_explain import attribution
from itm_book.chapters.does_attention_explain.attribution import Probe, content_queries
from itm_book.chapters.does_attention_explain.measures import (
    GRADIENTS,
    OCCLUSION,
    ORDERS,
    OVERLAPS,
    AttributionAgreement,
    attribution_agreement,
    average_precision,
    descending_order,
    pair_attributions,
    pointing,
    removal_counts,
    score_margin,
    top1_deletion_rank,
    topk_overlap,
    untrained_probe,
)
from itm_book.pairs.word_maps import explain
from itm_core.data.dataset import load_dataset
from itm_core.evaluation.statistics import kendall_of_rows
from itm_core.experiments import runs
from itm_core.experiments.prepare import build
from tests import scenes_pair
from tests.micro import SMALL, write_dataset

FEW = arrays(np.float64, (3, 6), elements=st.integers(0, 3).map(float))  # many of them equal


def test_overlap_by_hand() -> None:
    x = np.array([[5.0, 4, 3, 2, 1], [1, 0, 0, 0, 0]])
    y = np.array([[4.0, 5, 1, 2, 3], [3, 2, 1, 0, -1]])
    np.testing.assert_array_equal(topk_overlap(x, y, 1), [0, 1])
    np.testing.assert_allclose(topk_overlap(x, y, 3), [2 / 3, np.nan])  # zeros rank nothing
    np.testing.assert_allclose(topk_overlap(x, y, 9), [3 / 4, np.nan])  # all but one at most


def test_top1_deletion_rank_by_hand() -> None:
    lost = np.array([[0.3, 0.1, 0.2, 0.2, -0.1]])
    rows = {0: 1.0, 4: 0.0, 2: (2 + 0.5) / 4}
    for top, expected in rows.items():
        weights = np.eye(5)[[top]]
        assert top1_deletion_rank(weights, lost)[0] == pytest.approx(expected)
    both = np.array([[0.5, 0, 0, 0, 0.5]])  # the best of the losses and the worst
    assert top1_deletion_rank(both, lost)[0] == pytest.approx(0.5)


def test_pointing_and_precision_by_hand() -> None:
    relevant = np.array([[True, False, False, True], [False] * 4, [False, False, False, True]])
    weights = np.array([[0.1, 0.5, 0.0, 0.4], [0.7, 0.1, 0.1, 0.1], [0.0, 1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(pointing(weights, relevant), [0, np.nan, 0])
    first = (1 / 2 + 2 / 3) / 2
    last = (1 / 2 + 1 / 3 + 1 / 4) / 3  # of three equals any may come first
    np.testing.assert_allclose(average_precision(weights, relevant), [first, np.nan, last])
    hard = np.array([[0.0, 0.0, 0.0, 1.0]])  # one chosen, the rest without order
    assert average_precision(hard, relevant[:1])[0] == pytest.approx(
        (1 + (1 + 2 / 3 + 2 / 4) / 3) / 2
    )
    two = np.array([[0.5, 0.5, 0.0, 0.0]])  # one of two joint maxima is right
    assert pointing(two, relevant[:1])[0] == 0.5


@settings(deadline=None, max_examples=100)
@given(FEW, FEW, arrays(bool, (3, 6)), st.permutations(range(6)))
def test_no_order_of_the_regions_changes_a_number(
    weights: np.ndarray, lost: np.ndarray, relevant: np.ndarray, order: list[int]
) -> None:
    measures = {
        top1_deletion_rank: lost,
        topk_overlap: lost,
        kendall_of_rows: lost,
        pointing: relevant,
    }
    for measure, other in (measures | {average_precision: relevant}).items():
        permuted = measure(weights[:, order], other[:, order])
        np.testing.assert_allclose(permuted, measure(weights, other), atol=1e-12)


def test_the_score_margin_is_over_all_other_images() -> None:
    scores = np.array([[0.9, 0.2], [0.1, 0.5], [0.3, 0.6]], np.float32)
    margin = score_margin(scores, np.array([0, 1]), np.array([0, 1]))
    np.testing.assert_allclose(margin, [0.9 - 0.2, 0.5 - 0.4], atol=1e-6)
    assert np.isnan(score_margin(scores[:1], np.array([0]), np.array([0])))[0]


@pytest.mark.parametrize("regions", [2, 3, 5, 36, 100])
def test_removal_counts_go_from_none_to_all_but_one(regions: int) -> None:
    counts = removal_counts(regions)
    assert (counts[0], counts[-1]) == (0, regions - 1)
    assert (np.diff(counts) > 0).all()


def test_equals_go_in_the_order_that_is_given_and_others_by_their_value() -> None:
    draw = torch.Generator().manual_seed(0)
    values = torch.randint(3, (40, 6), generator=draw)
    ties = torch.rand(40, 6, generator=draw).argsort(1)
    orders = descending_order(values, ties)
    for row, order, tie in zip(values.tolist(), orders.tolist(), ties.tolist(), strict=True):
        assert order == sorted(range(6), key=lambda r: (-row[r], tie.index(r)))


def test_tied_regions_are_removed_in_no_order_of_the_file(
    scenes_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A matcher whose attention is the same everywhere: no end of the file goes first."""
    split = scenes_pair.scenes(scenes_folder)
    run = scenes_pair.trained(scenes_folder, "scan-t2i-mean")
    recorded: list[torch.Tensor] = []

    def flat(probe: Probe) -> tuple[torch.Tensor, torch.Tensor]:
        queries = probe.queries
        return (torch.ones(len(queries.pair), queries.regions), torch.ones(4, queries.regions))

    def record_orders(probe: Probe, orders: list[torch.Tensor], removed: list[int]) -> np.ndarray:
        recorded.extend(orders)
        return np.zeros((len(orders), len(removed), 4))

    monkeypatch.setattr(attribution, "attention", flat)
    monkeypatch.setattr(attribution, "deletion_scores", record_orders)
    attribution_agreement(run, split, pairs=4, words=1)
    most, _, least, first, _ = recorded
    assert torch.equal(most, first)
    assert torch.equal(least, first)
    assert not torch.equal(most, torch.arange(most.shape[1]).expand_as(most))


def test_agreement_of_a_run(scenes_folder: Path) -> None:
    split = scenes_pair.scenes(scenes_folder)
    run = scenes_pair.trained(scenes_folder, "scan-t2i-mean")
    agreement = attribution_agreement(run, split, pairs=4, words=2)
    assert list(agreement.attributions) == [OCCLUSION, OVERLAPS, GRADIENTS]
    assert agreement.occlusion is agreement.attributions[OVERLAPS]
    shape = agreement.attention.shape
    assert {values.shape for values in agreement.attributions.values()} == {shape}
    assert agreement.untrained_attention.shape == agreement.untrained_occlusion.shape == shape
    assert agreement.deletion_scores.shape == (len(ORDERS), len(agreement.removed), 4)
    images = np.unique(agreement.image)
    for n, image in enumerate(images):  # before anything is removed, the run's own score
        caption = split.place(image, n % split.caption_counts[image])
        assert agreement.deletion_scores[:, 0, n] == pytest.approx(
            run.scores[image, caption], abs=1e-5
        )
    assert (agreement.image[agreement.other_query] == agreement.image).all()
    assert (agreement.other_query != np.arange(len(agreement.image))).all()
    again = attribution_agreement(run, split, pairs=4, words=2)
    for name in ("attention", "untrained_attention", "deletion_scores", "completeness_error"):
        np.testing.assert_array_equal(getattr(agreement, name), getattr(again, name))


def test_before_training_is_where_training_started(scenes_folder: Path) -> None:
    split = scenes_pair.scenes(scenes_folder)
    run = scenes_pair.trained(scenes_folder, "scan-t2i-mean")
    queries = content_queries(run.recipe, run.vocabulary, split, [0])
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    initial = untrained_probe(run, queries).matcher.state_dict()
    assert torch.equal(torch.rand(1), expected)  # the state of the draw is left as it was
    torch.manual_seed(run.seed)
    fresh = build(run.recipe, run.config, run.vocabulary).state_dict()
    assert all(torch.equal(initial[name], fresh[name]) for name in fresh)
    assert any(not torch.equal(initial[k], v) for k, v in run.matcher().state_dict().items())


def test_without_boxes_regions_are_removed_singly(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "micro")
    run = runs.train_or_load(
        dataset, "chan", root=tmp_path, overrides=SMALL, device="cpu", progress=False
    )
    agreement = attribution_agreement(run, load_dataset(dataset).test, pairs=3)
    assert list(agreement.attributions) == [OCCLUSION, GRADIENTS]
    assert agreement.occlusion is agreement.attributions[OCCLUSION]
    assert agreement.relevant is None


def test_a_single_word_has_no_other_query() -> None:
    nothing = np.zeros((3, 2))
    agreement = AttributionAgreement(
        image=np.array([0, 3, 3]),
        attention=nothing,
        attributions={OCCLUSION: nothing},
        completeness_error=nothing[:, 0],
        relevant=None,
        untrained_attention=nothing,
        untrained_occlusion=nothing,
        removed=np.arange(2),
        deletion_scores=np.zeros((4, 2, 2)),
        score_margin=np.ones(2),
    )
    assert agreement.other_query.tolist() == [-1, 2, 1]


def test_maps_of_a_pair_hold_the_attention_that_is_drawn_elsewhere(scenes_folder: Path) -> None:
    split = scenes_pair.scenes(scenes_folder)
    run = scenes_pair.trained(scenes_folder, "scan-t2i-mean")
    place = split.place(scenes_pair.IMAGE, scenes_pair.CAPTION)
    maps = pair_attributions(run, split, place)
    explained = explain(run, split, scenes_pair.IMAGE, place)
    assert list(maps) == ["attention", OVERLAPS, GRADIENTS]
    rows = np.flatnonzero(maps["attention"].any(1))
    assert 0 < len(rows) < len(explained.words)
    np.testing.assert_allclose(maps["attention"][rows], explained.weights[rows], atol=1e-6)
    assert all(values.shape == explained.weights.shape for values in maps.values())
