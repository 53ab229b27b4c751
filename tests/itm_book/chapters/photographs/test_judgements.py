"""Rank correlation with people's ratings, against scipy on pairs that are written out."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from itm_book.chapters.photographs.judgements import (
    Judgements,
    agreement,
    between_people,
    judged_difference,
    read_expert,
)
from itm_core.data.dataset import Split, load_split
from itm_core.errors import InputError
from tests.micro import write_dataset


def by_scipy(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    return {
        "tau_b": stats.kendalltau(x, y).statistic,
        "tau_c": stats.kendalltau(x, y, variant="c").statistic,
        "spearman": stats.spearmanr(x, y).statistic,
    }


def judged_pairs(images: int, people: int = 3) -> tuple[Judgements, np.ndarray]:
    """Random pairs, and scores that agree with the ratings to a degree."""
    draw = np.random.default_rng(0)
    image = np.repeat(np.arange(images), 4)
    caption = np.concatenate([draw.choice(5 * images, 4, replace=False) for _ in range(images)])
    ratings = draw.integers(1, 5, (len(image), people))
    scores = draw.normal(size=(images, 5 * images))
    scores[image, caption] += ratings.mean(1)
    return Judgements(image, caption, ratings, 0, 0), scores


@pytest.mark.parametrize("taking", ["each", "mean"])
def test_every_rating_or_their_mean_is_compared(taking: str) -> None:
    judged, scores = judged_pairs(12)
    found = agreement(scores, judged, taking=taking, resamples=0)
    x, y = scores[judged.image, judged.caption], judged.ratings.mean(1)
    if taking == "each":
        x, y = np.concatenate([x, x, x]), np.concatenate(list(judged.ratings.T.astype(float)))
    assert found.values == pytest.approx(by_scipy(x, y))
    assert (found.pairs, found.images) == (48, 12)


def test_intervals_draw_images_with_all_their_pairs() -> None:
    """As resamples that are written out: the pairs of an image drawn twice are there twice."""
    judged, scores = judged_pairs(10)
    found = agreement(scores, judged, resamples=50, seed=3)
    draws, slow = np.random.default_rng(3), []
    for _ in range(50):
        drawn = np.arange(10).repeat(draws.multinomial(10, np.full(10, 0.1)))
        rows = np.concatenate([np.flatnonzero(judged.image == i) for i in drawn])
        x = scores[judged.image[rows], judged.caption[rows]].repeat(3)
        slow.append(by_scipy(x, judged.ratings[rows].reshape(-1)))
    for measure, ends in found.intervals.items():
        drawn = [one[measure] for one in slow]
        assert ends == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])))
    flat = found.flat()
    assert flat["judged_tau_c_low"] < flat["judged_tau_c"] < flat["judged_tau_c_high"]


def test_more_images_make_narrower_intervals_and_copies_of_pairs_do_not() -> None:
    def width(judged: Judgements, scores: np.ndarray) -> float:
        low, high = agreement(scores, judged, taking="mean", resamples=200).intervals["tau_b"]
        return high - low

    few, scores = judged_pairs(20)
    many, others = judged_pairs(180)
    assert width(many, others) < 0.6 * width(few, scores)
    copied = Judgements(
        few.image.repeat(9), few.caption.repeat(9), few.ratings.repeat(9, axis=0), 0, 0
    )
    assert width(copied, scores) > 0.9 * width(few, scores)


def test_two_scores_are_compared_on_the_same_images() -> None:
    judged, scores = judged_pairs(40)
    noise = scores + 0.1 * np.random.default_rng(1).normal(size=scores.shape)
    gap = judged_difference(scores, noise, judged, resamples=200)
    ours, theirs = (agreement(one, judged, resamples=200) for one in (scores, noise))
    low, high = gap.intervals["tau_c"]
    assert gap.values["tau_c"] == pytest.approx(ours.values["tau_c"] - theirs.values["tau_c"])
    alone = ours.intervals["tau_c"]
    assert high - low < 0.5 * (alone[1] - alone[0])  # what both share is taken away
    same = judged_difference(scores, scores, judged, resamples=20)
    assert same.intervals["spearman"] == (0, 0)


@pytest.mark.parametrize("taking", ["each", "mean"])
def test_people_agree_with_one_another_as_far_as_they_do(taking: str) -> None:
    ratings = np.array([[1, 1, 2], [2, 2, 2], [3, 3, 1], [4, 4, 4]])
    judged = Judgements(np.arange(4), np.arange(4), ratings, 0, 0)
    slow = []
    for p in range(3):
        others = np.delete(ratings, p, 1)
        y = others.mean(1) if taking == "mean" else others.reshape(-1)
        x = ratings[:, p].repeat(1 if taking == "mean" else 2)
        slow.append(by_scipy(x, y))
    found = between_people(judged, taking=taking, resamples=50)
    means = {measure: np.mean([one[measure] for one in slow]) for measure in slow[0]}
    assert found.values == pytest.approx(means)
    low, high = found.intervals["tau_b"]
    assert low < found.values["tau_b"] <= high


def test_people_who_agree_have_nothing_to_say_against_each_other() -> None:
    ratings = np.arange(1, 5).repeat(3).reshape(4, 3)
    judged = Judgements(np.arange(4), np.arange(4), ratings, 0, 0)
    assert between_people(judged, resamples=0).values == pytest.approx(
        {"tau_b": 1, "tau_c": 1, "spearman": 1}
    )


LINES = (
    "2000_a.jpg\t2001_b.jpg#2\t1\t1\t2",
    "2000_a.jpg\t2000_a.jpg#0\t4\t4\t3",
    "2003_d.jpg\t2000_a.jpg#4\t1\t2\t2",
    "elsewhere.jpg\t2000_a.jpg#4\t1\t1\t1",
)


def split_with_names(folder: Path) -> Split:
    write_dataset(folder)
    named = ", ".join(f'"{2000 + i}": "{2000 + i}_{chr(97 + i)}.jpg"' for i in range(12))
    (folder / "id_mapping.json").write_text(f"{{{named}}}")
    return load_split(folder, "test")


@pytest.mark.parametrize("packed", [False, True])
def test_judgements_find_their_images_and_captions(tmp_path: Path, packed: bool) -> None:
    split = split_with_names(tmp_path)
    path = tmp_path / ("expert.txt.gz" if packed else "expert.txt")
    text = ("\n".join(LINES) + "\n").encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    found = read_expert(path, split)
    assert found.image.tolist() == [0, 3]
    assert found.caption.tolist() == [5 * 1 + 2, 4]
    assert found.ratings.tolist() == [[1, 1, 2], [1, 2, 2]]
    assert (found.own, found.elsewhere) == (1, 1)
    kept = read_expert(path, split, own=True)
    assert kept.caption.tolist() == [7, 0, 4]
    assert kept.own == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2000_a.jpg\t2001_b.jpg#2\t1\t1", r"row 2: not a judgement.*ratings 1, 1"),
        ("2000_a.jpg\t2001_b.jpg#2\t1\t1\t5", r"row 2: not a judgement.*found ratings 1, 1, 5"),
        ("2000_a.jpg 2001_b.jpg#2 1 1 1", r"row 2: not a judgement"),
        ("2000_a.jpg\t2001_b.jpg\t1\t1\t1", r"row 2: not a judgement"),
        ("2000_a.jpg\t2001_b.jpg#7\t1\t1\t1", r"no such caption; expected 0 to 4, found 7"),
    ],
)
def test_lines_that_are_no_judgement_are_named(tmp_path: Path, line: str, message: str) -> None:
    split = split_with_names(tmp_path)
    path = tmp_path / "expert.txt"
    path.write_text(f"{LINES[0]}\n{line}\n")
    with pytest.raises(InputError, match=message):
        read_expert(path, split)


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    split = split_with_names(tmp_path)
    path = tmp_path / "expert.txt"
    with pytest.raises(InputError, match="judgements not found"):
        read_expert(path, split)
    path.write_text(LINES[3] + "\n")
    with pytest.raises(InputError, match="no judged pair is of this split.*id_mapping"):
        read_expert(path, split)
    judged, scores = judged_pairs(10)
    with pytest.raises(InputError, match="not those of the judged split"):
        agreement(scores[:5], judged)
    scores[judged.image[0], judged.caption[0]] = np.nan
    with pytest.raises(InputError, match="is not a number"):
        agreement(scores, judged)
