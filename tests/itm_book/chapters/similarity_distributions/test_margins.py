"""Margins, errors and who fails together: against slow loops and cases worked by hand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itm_book.chapters.similarity_distributions import margins, margins_text
from itm_book.scenes.errors import LACKS
from itm_book.tables import report
from itm_core.data.dataset import Split, load_dataset
from itm_core.evaluation import retrieval
from itm_core.evaluation.statistics import mean_over_images
from itm_core.experiments import runs
from tests import scenes_pair
from tests.micro import SMALL, write_dataset


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    images = draw(st.integers(2, 6))
    seed = draw(st.integers(0, 10_000))
    # few values, so that there are ties
    return np.random.default_rng(seed).integers(0, 12, (images, 5 * images)).astype(np.float32) / 7


def slow(scores: np.ndarray) -> dict[str, list[tuple[float, float, int]]]:
    images, captions = scores.shape
    found: dict[str, list[tuple[float, float, int]]] = {"i2t": [], "t2i": []}
    for i in range(images):
        wrong = [(scores[i, c], -c) for c in range(captions) if c // 5 != i]
        best, place = max(wrong)
        found["i2t"].append((max(scores[i, 5 * i : 5 * i + 5]), best, -place))
    for c in range(captions):
        wrong = [(scores[i, c], -i) for i in range(images) if i != c // 5]
        best, place = max(wrong)
        found["t2i"].append((scores[c // 5, c], best, -place))
    return found


@given(matrices())
@settings(max_examples=60, deadline=None)
def test_positives_and_hardest_negatives_are_those_of_a_loop(scores: np.ndarray) -> None:
    kept, found, by_hand = scores.copy(), margins.queries(scores), slow(scores)
    for side in ("i2t", "t2i"):
        one = found[side]
        rows = zip(one.positive, one.negative, one.rival, strict=True)
        assert list(rows) == [tuple(map(float, row)) for row in by_hand[side]]
    np.testing.assert_array_equal(scores, kept)


@given(matrices())
@settings(max_examples=60, deadline=None)
def test_margins_that_are_not_above_zero_are_one_minus_recall(scores: np.ndarray) -> None:
    known = retrieval.metrics(scores).flat()
    for found in (margins.queries(scores), margins.standardised(scores)):
        for side, one in found.items():
            assert 100 * (1 - one.wrong.mean()) == pytest.approx(known[f"{side}_r1"], abs=1e-9)
            np.testing.assert_array_equal(one.wrong, one.margin <= 0)
            np.testing.assert_array_equal(one.wrong, margins.queries(scores)[side].wrong)


@given(matrices(), st.floats(0.1, 50), st.floats(-9, 9))
@settings(max_examples=40, deadline=None)
def test_standardised_scores_forget_scale_and_shift(
    scores: np.ndarray, scale: float, shift: float
) -> None:
    precise = scores.astype(float)
    one, other = margins.standardised(precise), margins.standardised(precise * scale + shift)
    for side in one:
        np.testing.assert_allclose(one[side].margin, other[side].margin, atol=1e-9)


def test_wrong_pairs_have_mean_zero_and_deviation_one() -> None:
    scores = np.array([[5.0, 1.0], [3.0, 7.0]])
    assert margins.wrong_pairs(scores) == (2.0, 1.0)
    found = margins.standardised(scores)
    np.testing.assert_array_equal(found["t2i"].positive, [3, 5])
    np.testing.assert_array_equal(found["t2i"].negative, [1, -1])
    flat = margins.standardised(np.ones((2, 2)))["i2t"]  # no spread to divide by
    np.testing.assert_array_equal(flat.margin, [0, 0])


class Scored:
    """Stands for a run where only the scores are looked at."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = scores


# --- of runs -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("margins")
    on_micro.cache_clear()


@cache
def on_micro(folder: Path) -> tuple[dict[str, runs.Run], Split]:
    dataset = write_dataset(folder / "micro")
    recipes = ("scan-t2i-mean", "scan-i2t-mean", "vse-mean")
    made = {
        name: runs.train_or_load(
            dataset, name, root=folder, overrides=SMALL, device="cpu", progress=False
        )
        for name in recipes
    }
    return made, load_dataset(dataset).test


@given(matrices())
@settings(max_examples=60, deadline=None)
def test_wrong_answers_with_one_score_share_the_weight_of_their_query(scores: np.ndarray) -> None:
    images, captions = scores.shape
    for side in ("i2t", "t2i"):
        expected = {}
        for query, (right, wrong, _) in enumerate(slow(scores)[side]):
            pairs = [
                (i, c)
                for i in range(images)
                for c in range(captions)
                if query == (i if side == "i2t" else c) and c // 5 != i and scores[i, c] == wrong
            ]
            if right <= wrong:
                expected |= dict.fromkeys(pairs, 1 / len(pairs))
        i, c, weight = margins.wrong_answers(scores, side)
        found = dict(zip(zip(i.tolist(), c.tolist(), strict=True), weight.tolist(), strict=True))
        assert found == pytest.approx(expected)
        assert len(weight) == len(expected)


def queries_that_lack(scores: np.ndarray, lack: np.ndarray, side: str) -> np.ndarray:
    """How many failed queries lack each thing; one with several winners counts in parts."""
    found, owner = np.zeros(len(LACKS)), np.arange(scores.shape[1]) // 5
    for query, (right, wrong, _) in enumerate(slow(scores)[side]):
        row, thing = (scores[query], lack[query]) if side == "i2t" else (
            scores[:, query], lack[:, query]
        )  # fmt: skip
        other = owner != query if side == "i2t" else np.arange(len(scores)) != owner[query]
        if right <= wrong:
            winners = thing[(row == wrong) & other]
            found += np.bincount(winners, minlength=len(LACKS)) / len(winners)
    return found


def test_what_tied_answers_lack_does_not_depend_on_their_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores of few values: turning the images and their captions round changes no share."""
    _, split = on_micro(folder)
    shape = (len(split.ids), len(split.captions))
    draw = np.random.default_rng(0)
    scores, lack = draw.integers(0, 3, shape).astype(float), draw.integers(0, len(LACKS), shape)
    for side in ("i2t", "t2i"):
        rows = []
        for turn in (1, -1):
            said = np.array(LACKS)[lack[::turn, ::turn]]
            monkeypatch.setattr(margins, "lacking", lambda _, i, c, said=said: said[i, c].tolist())
            made = {"one": Scored(scores[::turn, ::turn])}
            rows.append(margins.lacks(made, split, side).loc["one"])  # type: ignore[arg-type]
        np.testing.assert_allclose(*rows)
        found = queries_that_lack(scores, lack, side)
        np.testing.assert_allclose(rows[0], 100 * found / found.sum())


@pytest.mark.parametrize("side", ["i2t", "t2i"])
def test_a_row_adds_up_and_agrees_with_the_run(side: str, folder: Path) -> None:
    made, _ = on_micro(folder)
    table = margins.table(made, side)
    for row, run in zip(table.to_dict("records"), made.values(), strict=True):
        parts = [
            float(row[k]) for k in ("wrong (%)", "right, within it (%)", "right, beyond it (%)")
        ]
        assert sum(parts) == pytest.approx(100, abs=0.16)
        assert 100 - parts[0] == pytest.approx(run.metrics[f"{side}_r1"], abs=0.06)
        margin = margins.queries(run.scores)[side].margin
        inside = ((margin > 0) & (margin < run.recipe.loss.margin)).mean()
        assert parts[1] == pytest.approx(100 * inside, abs=0.06)


def test_places_of_the_right_answer_sum_to_all_errors(folder: Path) -> None:
    made, _ = on_micro(folder)
    found = margins.places(made, "t2i")
    ranks = retrieval.ranks(made["vse-mean"].scores).t2i
    failed = ranks[ranks > 0]
    assert found.loc["vse-mean", "second"] == pytest.approx(100 * (failed == 1).mean())
    assert found.loc["vse-mean", "later"] == pytest.approx(100 * (failed >= 10).mean())
    np.testing.assert_allclose(found.sum(axis=1), 100)


def test_without_truth_there_are_lengths_and_overlap(folder: Path) -> None:
    made, split = on_micro(folder)
    assert margins.lacks(made, split, "t2i").empty
    assert "does not know" in str(margins_text.of_lacks(margins.lacks(made, split, "t2i")).data)
    assert list(margins.traits(split, "t2i")) == ["length of the caption (tokens)"]
    assert "what the wrong image lacks" not in margins.hardest_captions(made, split)


def test_rates_are_means_over_queries_of_the_same_trait(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(margins, "FEWEST", 1)
    made, split = on_micro(folder)
    (length,) = margins.traits(split, "t2i").values()
    (found,) = margins.rates(made, split, "t2i").values()
    wrong = margins.queries(made["vse-mean"].scores)["t2i"].wrong
    for value in np.unique(length):
        assert found.loc[value, "vse-mean"] == pytest.approx(100 * wrong[length == value].mean())
    monkeypatch.setattr(margins, "FEWEST", 10_000)
    assert all(part.empty for part in margins.rates(made, split, "t2i").values())


def test_on_scenes_every_error_has_a_cause_and_random_pairs_stand_beside(
    scenes_folder: Path,
) -> None:
    split = scenes_pair.scenes(scenes_folder)
    scores = np.random.default_rng(0).normal(size=(len(split.ids), len(split.captions)))
    made = {"one": Scored(scores)}
    for side in ("t2i", "i2t"):
        found = margins.lacks(made, split, side)  # type: ignore[arg-type]
        assert list(found.columns) == list(LACKS)
        assert list(found.index) == ["one", margins.AT_RANDOM]
        np.testing.assert_allclose(found.sum(axis=1), 100)
        assert abs(found.loc["one"] - found.loc[margins.AT_RANDOM]).max() < 20  # random as well
        images, captions, weight = margins.wrong_answers(scores, side)
        assert (weight == 1).all()  # no two scores are equal
        assert (split.caption_image[captions] != images).all()
        best = scores.max(1)[images] if side == "i2t" else scores.max(0)[captions]
        np.testing.assert_array_equal(scores[images, captions], best)
        assert "errors fall most often under" in str(margins_text.of_lacks(found).data)
    assert {"objects that it mentions", "objects in its image"} <= set(margins.traits(split, "t2i"))
    assert "what the wrong image lacks" in margins.hardest_captions(made, split)  # type: ignore[arg-type]


# --- who fails together ------------------------------------------------------------------------


def test_agreement_beyond_chance_worked_by_hand() -> None:
    wrong = pd.DataFrame(
        {"a": [1, 1, 0, 0], "same": [1, 1, 0, 0], "apart": [0, 0, 1, 1], "half": [1, 0, 1, 0]}
    ).astype(bool)
    kappa = margins.agreement(wrong)
    assert kappa.loc["a"].tolist() == [1, 1, -1, 0]
    np.testing.assert_array_equal(kappa, kappa.T)
    always = pd.DataFrame({"a": [True, True], "b": [True, True]})
    assert margins.agreement(always).isna().all(axis=None)


def test_who_fails_together_worked_by_hand() -> None:
    wrong = pd.DataFrame({"a": [1, 1, 0, 0], "b": [1, 1, 1, 0]}).astype(bool)
    found = margins.together(wrong)
    assert found["found"].tolist() == [25, 25, 50]
    # rates 1/2 and 3/4: none 1/8, both 3/8
    np.testing.assert_allclose(found["independent"], [12.5, 50, 37.5])
    assert "50.0 % of the queries are failed by all 2 methods (37.5 %" in str(
        margins_text.of_together({"x": found}).data
    )


def test_pairs_of_methods_and_their_average(folder: Path) -> None:
    made, _ = on_micro(folder)
    pairs = margins.pairs(made)
    assert len(pairs) == 3
    for row in pairs.to_dict("records"):
        both = [made[row["first"]].scores.astype(float), made[row["second"]].scores.astype(float)]
        level = []
        for scores in both:
            wrong = [
                scores[i, c]
                for i in range(len(scores))
                for c in range(scores.shape[1])
                if c // 5 != i
            ]
            level.append((scores - np.mean(wrong)) / np.std(wrong))
        average = retrieval.metrics((level[0] + level[1]) / 2).rsum
        alone = sorted(retrieval.metrics(scores).rsum for scores in both)
        assert row["average"] == pytest.approx(average)
        assert [row["worse"], row["better"]] == pytest.approx(alone)
        assert row["gain"] == pytest.approx(average - alone[1])
        best = level[int(np.argmax([retrieval.metrics(scores).rsum for scores in both]))]
        gap = (retrieval.hits((level[0] + level[1]) / 2) - retrieval.hits(best))[:, -1]
        limits = mean_over_images(gap, np.arange(len(gap)))
        assert (row["gain"], row["low"], row["high"]) == pytest.approx(tuple(limits))
        right = [~margins.queries(scores)["t2i"].wrong for scores in both]
        assert row["either"] == pytest.approx(100 * (right[0] | right[1]).mean())
    assert "Of 3 pairs" in str(margins_text.of_pairs(pairs).data)
    assert len(margins.readable_pairs(pairs, count=2)) == 2


def test_what_goes_with_a_larger_gain_is_a_matter_of_ranks() -> None:
    """The gain falls with the agreement of errors and rises with the distance, on no line."""
    pairs = pd.DataFrame(
        {
            "first": list("abcd"),
            "second": list("bcda"),
            "gain": [1.0, 2, 3, 100],
            "kappa": [0.9, 0.8, 0.7, 0.6],
            "better": [400.0, 410, 420, 430],
            "worse": [399.0, 408, 415, 424],
        }
    ).assign(average=lambda row: row["better"] + row["gain"], low=[-1.0, 1, 1, 1])
    said = str(margins_text.of_pairs(pairs).data)
    assert "75 % with an interval above zero" in said
    assert "-1.00 with the agreement of the errors, +1.00 with the distance" in said
    level = str(margins_text.of_pairs(pairs.assign(kappa=0.5)).data)
    assert "+nan with the agreement" in level  # no two differ: there is no order


def test_the_stubborn_captions_come_first_and_are_escaped(folder: Path) -> None:
    _, split = on_micro(folder)
    images, captions = len(split.ids), len(split.captions)
    right = np.eye(images).repeat(5, axis=1)
    one, other = right.copy(), right.copy()
    one[3, 7], other[3, 7] = 2, 3  # both send caption 7 to image 3
    other[5, 2] = 2  # one sends caption 2 to image 5
    split.captions[7] = "<b>bold</b>"
    found = margins.hardest_captions({"a": Scored(one), "b": Scored(other)}, split)  # type: ignore[dict-item]
    assert found["methods"].tolist() == ["2 of 2", "1 of 2"]
    assert found["wrong image"].tolist() == [split.ids[3], split.ids[5]]
    assert found["its image"].tolist() == [split.ids[1], split.ids[0]]
    assert captions == 5 * images
    assert "&lt;b&gt;" in report.html(found, "stubborn").data
