"""Margins, error types and joint failures: against slow loops and hand-worked cases."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itm_book.chapters.similarity_distributions import measures, tables
from itm_book.scenes.errors import ERROR_TYPES
from itm_book.tables import report
from itm_book.tables.over_images import mean_over_images
from itm_core.data.dataset import Split, load_dataset
from itm_core.evaluation import retrieval
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
    queries: dict[str, list[tuple[float, float, int]]] = {"i2t": [], "t2i": []}
    for i in range(images):
        wrong = [(scores[i, c], -c) for c in range(captions) if c // 5 != i]
        best, place = max(wrong)
        queries["i2t"].append((max(scores[i, 5 * i : 5 * i + 5]), best, -place))
    for c in range(captions):
        wrong = [(scores[i, c], -i) for i in range(images) if i != c // 5]
        best, place = max(wrong)
        queries["t2i"].append((scores[c // 5, c], best, -place))
    return queries


@given(matrices())
@settings(max_examples=60, deadline=None)
def test_positives_and_hardest_negatives_are_those_of_a_loop(scores: np.ndarray) -> None:
    copy, by_direction, by_hand = scores.copy(), measures.query_scores(scores), slow(scores)
    for side in ("i2t", "t2i"):
        queries = by_direction[side]
        rows = zip(queries.positive, queries.negative, queries.hardest, strict=True)
        assert list(rows) == [tuple(map(float, row)) for row in by_hand[side]]
    np.testing.assert_array_equal(scores, copy)


@given(matrices())
@settings(max_examples=60, deadline=None)
def test_margins_that_are_not_above_zero_are_one_minus_recall(scores: np.ndarray) -> None:
    metrics = retrieval.metrics(scores).flat()
    for by_direction in (measures.query_scores(scores), measures.standardised_queries(scores)):
        for side, queries in by_direction.items():
            assert 100 * (1 - queries.failed.mean()) == pytest.approx(
                metrics[f"{side}_r1"], abs=1e-9
            )
            np.testing.assert_array_equal(queries.failed, queries.margin <= 0)
            np.testing.assert_array_equal(
                queries.failed, measures.query_scores(scores)[side].failed
            )


@given(matrices(), st.floats(0.1, 50), st.floats(-9, 9))
@settings(max_examples=40, deadline=None)
def test_standardised_scores_forget_scale_and_shift(
    scores: np.ndarray, scale: float, shift: float
) -> None:
    precise = scores.astype(float)
    plain, scaled = (
        measures.standardised_queries(precise),
        measures.standardised_queries(precise * scale + shift),
    )
    for side in plain:
        np.testing.assert_allclose(plain[side].margin, scaled[side].margin, atol=1e-9)


def test_wrong_pairs_have_mean_zero_and_deviation_one() -> None:
    scores = np.array([[5.0, 1.0], [3.0, 7.0]])
    assert measures.negative_moments(scores) == (2.0, 1.0)
    standardised = measures.standardised_queries(scores)
    np.testing.assert_array_equal(standardised["t2i"].positive, [3, 5])
    np.testing.assert_array_equal(standardised["t2i"].negative, [1, -1])
    flat = measures.standardised_queries(np.ones((2, 2)))["i2t"]  # no spread to divide by
    np.testing.assert_array_equal(flat.margin, [0, 0])


class Scored:
    """Stands for a run of which only the scores are used."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = scores

    @property
    def caption_image(self) -> np.ndarray:
        return retrieval.image_of_captions(self.scores)


# --- of runs -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("margins")
    on_micro.cache_clear()


@cache
def on_micro(folder: Path) -> tuple[dict[str, runs.Run], Split]:
    dataset = write_dataset(folder / "micro")
    recipes = ("scan-t2i-mean", "scan-i2t-mean", "vse-mean")
    trained = {
        name: runs.train_or_load(
            dataset, name, root=folder, overrides=SMALL, device="cpu", progress=False
        )
        for name in recipes
    }
    return trained, load_dataset(dataset).test


@given(matrices())
@settings(max_examples=60, deadline=None)
def test_hardest_negatives_of_equal_score_share_the_weight(
    scores: np.ndarray,
) -> None:
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
        i, c, weight = measures.hardest_negative_pairs(scores, side)
        weights = dict(zip(zip(i.tolist(), c.tolist(), strict=True), weight.tolist(), strict=True))
        assert weights == pytest.approx(expected)
        assert len(weight) == len(expected)


def failed_queries_by_type(scores: np.ndarray, kind: np.ndarray, side: str) -> np.ndarray:
    """Count failed queries by type of error; one with several hardest negatives counts in parts."""
    counts, owner = np.zeros(len(ERROR_TYPES)), np.arange(scores.shape[1]) // 5
    for query, (right, wrong, _) in enumerate(slow(scores)[side]):
        row, thing = (scores[query], kind[query]) if side == "i2t" else (
            scores[:, query], kind[:, query]
        )  # fmt: skip
        other = owner != query if side == "i2t" else np.arange(len(scores)) != owner[query]
        if right <= wrong:
            winners = thing[(row == wrong) & other]
            counts += np.bincount(winners, minlength=len(ERROR_TYPES)) / len(winners)
    return counts


def test_error_types_of_ties_do_not_depend_on_their_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores of few values: reversing the images and their captions changes no percentage."""
    _, split = on_micro(folder)
    shape = (len(split.ids), len(split.captions))
    draw = np.random.default_rng(0)
    scores = draw.integers(0, 3, shape).astype(float)
    kind = draw.integers(0, len(ERROR_TYPES), shape)
    for side in ("i2t", "t2i"):
        rows = []
        for turn in (1, -1):
            types = np.array(ERROR_TYPES)[kind[::turn, ::turn]]
            monkeypatch.setattr(
                measures, "pair_error_types", lambda _, i, c, t=types: list(t[i, c])
            )
            reversed_runs = {"one": Scored(scores[::turn, ::turn])}
            rows.append(measures.error_types(reversed_runs, split, side).loc["one"])  # type: ignore[arg-type]
        np.testing.assert_allclose(*rows)
        counts = failed_queries_by_type(scores, kind, side)
        np.testing.assert_allclose(rows[0], 100 * counts / counts.sum())


@pytest.mark.parametrize("side", ["i2t", "t2i"])
def test_a_row_adds_up_and_agrees_with_the_run(side: str, folder: Path) -> None:
    trained, _ = on_micro(folder)
    table = tables.margin_table(trained, side)
    for row, run in zip(table.to_dict("records"), trained.values(), strict=True):
        parts = [
            float(row[k]) for k in ("failed (%)", "correct, below it (%)", "correct, above it (%)")
        ]
        assert sum(parts) == pytest.approx(100, abs=0.16)
        assert 100 - parts[0] == pytest.approx(run.metrics[f"{side}_r1"], abs=0.06)
        margin = measures.query_scores(run.scores)[side].margin
        inside = ((margin > 0) & (margin < run.recipe.loss.margin)).mean()
        assert parts[1] == pytest.approx(100 * inside, abs=0.06)


def test_places_of_the_right_answer_sum_to_all_errors(folder: Path) -> None:
    trained, _ = on_micro(folder)
    percent = measures.positive_ranks(trained, "t2i")
    ranks = retrieval.ranks(trained["vse-mean"].scores).t2i
    failed = ranks[ranks > 0]
    assert percent.loc["vse-mean", "rank 2"] == pytest.approx(100 * (failed == 1).mean())
    assert percent.loc["vse-mean", "beyond 10"] == pytest.approx(100 * (failed >= 10).mean())
    np.testing.assert_allclose(percent.sum(axis=1), 100)


def test_without_ground_truth_there_are_lengths_alone(folder: Path) -> None:
    trained, split = on_micro(folder)
    assert measures.error_types(trained, split, "t2i").empty
    assert tables.error_type_table(measures.error_types(trained, split, "t2i")).empty
    assert list(measures.query_properties(split, "t2i")) == ["caption length (tokens)"]
    assert "type of error" not in tables.hardest_captions(trained, split)


def test_error_rates_are_means_over_queries_of_the_same_property(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "MIN_QUERIES", 1)
    trained, split = on_micro(folder)
    (length,) = measures.query_properties(split, "t2i").values()
    (rates,) = measures.error_rates(trained, split, "t2i").values()
    wrong = measures.query_scores(trained["vse-mean"].scores)["t2i"].failed
    for value in np.unique(length):
        assert rates.loc[value, "vse-mean"] == pytest.approx(100 * wrong[length == value].mean())
    monkeypatch.setattr(measures, "MIN_QUERIES", 10_000)
    assert all(part.empty for part in measures.error_rates(trained, split, "t2i").values())


def test_on_scenes_every_error_has_a_type_and_random_pairs_are_the_last_row(
    scenes_folder: Path,
) -> None:
    split = scenes_pair.scenes(scenes_folder)
    scores = np.random.default_rng(0).normal(size=(len(split.ids), len(split.captions)))
    runs_by_name = {"one": Scored(scores)}
    for side in ("t2i", "i2t"):
        types = measures.error_types(runs_by_name, split, side)  # type: ignore[arg-type]
        assert list(types.columns) == list(ERROR_TYPES)
        assert list(types.index) == ["one", measures.RANDOM_PAIRS]
        np.testing.assert_allclose(types.sum(axis=1), 100)
        assert abs(types.loc["one"] - types.loc[measures.RANDOM_PAIRS]).max() < 20  # random as well
        images, captions, weight = measures.hardest_negative_pairs(scores, side)
        assert (weight == 1).all()  # no two scores are equal
        assert (split.caption_image[captions] != images).all()
        best = scores.max(1)[images] if side == "i2t" else scores.max(0)[captions]
        np.testing.assert_array_equal(scores[images, captions], best)
        table = tables.error_type_table(types).set_index("type of error")
        for name in ERROR_TYPES:
            mean, chance = types.loc["one", name], types.loc[measures.RANDOM_PAIRS, name]
            assert table.loc[name].tolist() == [
                f"{mean:.1f}", f"{chance:.1f}", f"{mean / chance:.1f}" if chance else "",
            ]  # fmt: skip
    assert {"mentioned objects", "objects in the image"} <= set(
        measures.query_properties(split, "t2i")
    )
    assert "type of error" in tables.hardest_captions(runs_by_name, split)  # type: ignore[arg-type]


# --- joint failures ----------------------------------------------------------------------------


def test_agreement_beyond_chance_worked_by_hand() -> None:
    wrong = pd.DataFrame(
        {"a": [1, 1, 0, 0], "same": [1, 1, 0, 0], "apart": [0, 0, 1, 1], "half": [1, 0, 1, 0]}
    ).astype(bool)
    kappa = measures.failure_kappa(wrong)
    assert kappa.loc["a"].tolist() == [1, 1, -1, 0]
    np.testing.assert_array_equal(kappa, kappa.T)
    always = pd.DataFrame({"a": [True, True], "b": [True, True]})
    assert measures.failure_kappa(always).isna().all(axis=None)


def test_joint_failures_worked_by_hand() -> None:
    wrong = pd.DataFrame({"a": [1, 1, 0, 0], "b": [1, 1, 1, 0]}).astype(bool)
    joint = measures.joint_failures(wrong)
    assert joint["observed"].tolist() == [25, 25, 50]
    # rates 1/2 and 3/4: none 1/8, both 3/8
    np.testing.assert_allclose(joint["independent"], [12.5, 50, 37.5])
    table = tables.joint_failure_table({"x": joint})
    assert table.loc[0].tolist() == ["x", "2", "25.0", "12.5", "50.0", "37.5"]


def test_pairs_of_methods_and_their_average(folder: Path) -> None:
    trained, _ = on_micro(folder)
    pairs = measures.ensemble_gains(trained)
    assert len(pairs) == 3
    for row in pairs.to_dict("records"):
        both = [
            trained[row["first"]].scores.astype(float),
            trained[row["second"]].scores.astype(float),
        ]
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
        right = [~measures.query_scores(scores)["t2i"].failed for scores in both]
        assert row["either"] == pytest.approx(100 * (right[0] | right[1]).mean())
    assert tables.ensemble_summary(pairs).loc[0, "pairs"] == "3"
    assert len(tables.ensemble_table(pairs, count=2)) == 2


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
    summary = tables.ensemble_summary(pairs)
    assert summary.loc[0].tolist() == ["4", "100", "75", "-1.00", "+1.00", "430.0"]
    level = tables.ensemble_summary(pairs.assign(kappa=0.5))
    assert level.loc[0].tolist()[3] == ""  # no two differ: there is no order


def test_the_hardest_captions_come_first_and_are_escaped(folder: Path) -> None:
    _, split = on_micro(folder)
    images, captions = len(split.ids), len(split.captions)
    right = np.eye(images).repeat(5, axis=1)
    first, second = right.copy(), right.copy()
    first[3, 7], second[3, 7] = 2, 3  # both send caption 7 to image 3
    second[5, 2] = 2  # one sends caption 2 to image 5
    split.captions[7] = "<b>bold</b>"
    table = tables.hardest_captions({"a": Scored(first), "b": Scored(second)}, split)  # type: ignore[dict-item]
    assert table["methods"].tolist() == ["2 of 2", "1 of 2"]
    assert table["wrong image"].tolist() == [split.ids[3], split.ids[5]]
    assert table["its image"].tolist() == [split.ids[1], split.ids[0]]
    assert captions == 5 * images
    assert "&lt;b&gt;" in report.html(table, "hardest").data
