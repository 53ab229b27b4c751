"""Causes: every effect agrees with a case worked out by hand, or with a loop."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from itm_book.chapters.why_is_my_number_lower import causes
from itm_book.records.results import Result
from itm_core.data.dataset import Dataset, load_dataset
from itm_core.data.vocabulary import Vocabulary
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.experiments import runs
from itm_core.experiments.runs import Run
from tests.itm_book.tables.test_comparison import fake, three
from tests.micro import SMALL, write_dataset

WORDS = Vocabulary.from_captions(["a red ball is n't here , or a dog ."], threshold=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_dataset(write_dataset(tmp_path_factory.mktemp("data") / "micro"))


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return runs.train_or_load(
        dataset, "scan-t2i-mean", root=tmp_path_factory.mktemp("runs"),
        overrides=(*SMALL, "training.epochs=4"), device="cpu", progress=False,
    )  # fmt: skip


def random_scores(images: int = 20, seed: int = 0) -> np.ndarray:
    scores = np.random.default_rng(seed).normal(size=(images, 5 * images)).astype(np.float32)
    scores[np.arange(5 * images) // 5, np.arange(5 * images)] += 1.5
    return scores


# --- seeds ---


def test_the_expected_best_of_a_few_draws_is_the_known_constant() -> None:
    assert causes.expected_best(1) == pytest.approx(0, abs=1e-6)
    assert causes.expected_best(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-4)
    assert causes.expected_best(3) == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-4)
    assert causes.expected_best(10) == pytest.approx(
        1.53875, abs=1e-4
    )  # tables of order statistics


def of_rsum(*values: float) -> list[Result]:
    return [
        dataclasses.replace(fake(seed, 1.0), metrics={"rsum": value})
        for seed, value in enumerate(values)
    ]


def test_spreads_are_pooled_by_their_degrees_of_freedom() -> None:
    results = {"a": of_rsum(1, 3), "b": of_rsum(2, 4, 6), "alone": of_rsum(99)}
    assert causes.pooled_spread(results) == pytest.approx(math.sqrt((2 + 8) / 3))
    assert math.isnan(causes.pooled_spread({"alone": of_rsum(99)}))


def test_the_best_of_several_seeds_is_set_beside_what_is_in_print() -> None:
    results = {"SCAN": of_rsum(298, 300, 302)}
    table = causes.best_of(results, results, counts=(3,)).set_index("method")
    row = table.loc["SCAN, fake"]
    assert (row["mean rSum"], row["SD"]) == (300, 2)
    assert row["best of 3, above the mean"] == pytest.approx(2 * causes.expected_best(3))
    assert set(causes.TEN_SEEDS) <= set(table.index)
    assert math.isnan(causes.best_of({"SCAN": of_rsum(300)}, results)["SD"][0])


def test_the_mean_of_seeds_lies_below_the_best_of_them() -> None:
    group = three(1.5)
    row = causes.mean_for_best("mean", group).iloc[0]
    values = [result.metrics["rsum"] for result in group]
    assert row["gain"] == pytest.approx(np.mean(values) - max(values))
    assert row["seeds"] == 3
    assert causes.mean_for_best("mean", group[:1]).empty


# --- words ---


def test_every_rewriting_does_what_its_name_says() -> None:
    caption = "A red ball, or a dog."
    words = {
        name: WORDS.words(rewrite(WORDS, caption)) for name, rewrite in causes.REWRITES.items()
    }
    ends = ("<start>", "<end>")
    inner = ["a", "red", "ball", ",", "or", "a", "dog", "."]
    assert words["no <start> and <end>"] == inner
    assert words["punctuation dropped"] == [
        ends[0], "a", "red", "ball", "or", "a", "dog", ends[1]
    ]  # fmt: skip
    assert words["split at spaces"] == [
        ends[0], "a", "red", "<unk>", "or", "a", "<unk>", ends[1]
    ]  # fmt: skip
    assert words["capitals kept"] == [ends[0], "<unk>", *inner[1:], ends[1]]
    ordered = sorted(set(WORDS.ids) - {*ends, "<pad>", "<unk>"})
    following = {word: ordered[min(k + 1, len(ordered) - 1)] for k, word in enumerate(ordered)}
    assert words["another vocabulary"] == [ends[0], *(following[w] for w in inner), ends[1]]


def test_a_caption_never_becomes_empty() -> None:
    assert all(len(rewrite(WORDS, ".")) > 0 for rewrite in causes.REWRITES.values())


def test_the_same_words_give_the_run_s_own_scores(run: Run, dataset: Dataset) -> None:
    same = causes.scored(run, dataset.test, Vocabulary.encode)
    np.testing.assert_allclose(same, run.scores, atol=1e-6)
    np.testing.assert_allclose(causes.scored(run, dataset.test), run.scores, atol=1e-6)


def test_tokenising_otherwise_is_measured_by_its_scores(run: Run, dataset: Dataset) -> None:
    table = causes.tokenisers([run], dataset.test).set_index("name")
    assert list(table.index) == list(causes.REWRITES)
    for name, rewrite in causes.REWRITES.items():
        rsum = retrieval.metrics(causes.scored(run, dataset.test, rewrite)).rsum
        assert table.loc[name, "gain"] == pytest.approx(rsum - run.metrics["rsum"])
    # captions are "A red dog ." to "A red dog runs runs runs runs .": 4 to 8 tokens
    captions = dataset.test.captions
    rare = sum(w not in dataset.vocabulary for c in captions for w in c.lower().split())
    tokens = 6 * len(captions)
    unknown = dict(zip(table.index, table["unknown words (%)"], strict=True))
    assert unknown["no <start> and <end>"] == pytest.approx(100 * rare / tokens)
    assert unknown["capitals kept"] == pytest.approx(100 * (rare + len(captions)) / tokens)
    assert unknown["punctuation dropped"] == pytest.approx(100 * rare / (tokens - len(captions)))
    assert unknown["split at spaces"] > 100 / 5  # the last word of every caption, now "dog."


# --- evaluation ---


def test_moved_and_tied_queries_are_counted() -> None:
    scores = np.array([[3, 0, 0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 2, 2, 2, 2, 1]], float)
    assert causes.tied(scores) == pytest.approx(100 * 5 / 12)  # captions 1-4, and the tenth
    other = scores.copy()
    other[0, 5] = 9  # image 0 and caption 5 now have a wrong item before the right one
    assert causes.moved(other, scores) == pytest.approx(100 * 2 / 12)
    assert causes.moved(scores, scores) == 0


def test_half_precision_is_compared_with_the_run_s_scores(run: Run, dataset: Dataset) -> None:
    row = causes.half_precision([run], dataset.test).iloc[0]
    half = causes.scored(run, dataset.test, precision="bfloat16")
    assert 0 < np.abs(half - run.scores).max() < 0.1
    assert row["gain"] == pytest.approx(retrieval.metrics(half).rsum - run.metrics["rsum"])
    assert row["ranks moved (%)"] == pytest.approx(causes.moved(half, run.scores))


def test_hits_in_folds_have_the_mean_of_the_folds() -> None:
    scores = random_scores()
    folds = retrieval.five_folds(scores)
    found = causes.fold_hits(scores)
    assert found.shape == (20, 7)
    assert found[:, -1].mean() == pytest.approx(folds.rsum)
    assert found[:, 0].mean() == pytest.approx(folds.i2t.r1)
    with pytest.raises(InputError, match="folds"):
        causes.fold_hits(random_scores(images=12))


def test_a_fold_table_holds_whole_mean_best_worst_and_the_released_line() -> None:
    scores = random_scores()
    table = causes.fold_table(scores)
    each = [
        retrieval.metrics(scores[4 * k : 4 * k + 4, 20 * k : 20 * k + 20]).rsum for k in range(5)
    ]
    whole, mean, best, worst, printed = table["rSum"]
    assert whole == retrieval.metrics(scores).rsum
    assert mean == pytest.approx(np.mean(each))
    assert (best, worst) == (max(each), min(each))
    i2t = retrieval.five_folds(scores).i2t
    assert printed == pytest.approx(6 * (i2t.r1 + i2t.r5 + i2t.r10) / 3)


# --- epochs ---


def test_a_run_watched_again_takes_the_same_way(run: Run, dataset: Dataset) -> None:
    seen = causes.by_epoch(run, dataset)
    np.testing.assert_allclose(seen.dev, run.curve["rsum"], rtol=1e-6)
    best = int(run.curve["rsum"].argmax())
    assert seen.test[best] == pytest.approx(run.metrics["rsum"], abs=1e-3)
    assert (run.folder / "epochs.npz").exists()


def test_what_was_watched_once_is_kept(
    run: Run, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = causes.by_epoch(run, dataset)
    monkeypatch.setattr(causes, "Trainer", None)
    np.testing.assert_array_equal(causes.by_epoch(run, dataset).hits, first.hits)


def test_the_epoch_that_the_test_split_likes_is_never_worse(run: Run) -> None:
    hits = np.zeros((3, 2, 7))
    hits[..., -1] = [[100, 100], [300, 340], [280, 300]]
    epochs = causes.Epochs(dev=np.array([90.0, 250.0, 260.0]), hits=hits)
    row = causes.epoch_choice([epochs], [run]).iloc[0]
    assert row["runs"] == [run.place]
    assert row["gain"] == pytest.approx(290 - 320)
    assert epochs.table()["chosen on"].tolist() == ["", "test", "dev"]
    same = causes.Epochs(dev=epochs.test, hits=hits)
    assert same.table()["chosen on"].tolist() == ["", "dev and test", ""]


def test_the_folder_of_a_watched_run_is_still_that_of_a_run(run: Run) -> None:
    assert [Path(one.folder) for one in runs.all_runs(run.folder.parents[2])] == [run.folder]
