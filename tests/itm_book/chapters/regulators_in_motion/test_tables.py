"""Tables of what regulators do, from motions made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from itm_book.chapters.regulators_in_motion import tables
from itm_book.chapters.regulators_in_motion.regulation import RegulatorTrace
from itm_core.data.dataset import Split, load_dataset
from itm_core.evaluation.statistics import mean_over_images
from tests.micro import write_dataset

QUERIES = 4  # a caption


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return load_dataset(write_dataset(tmp_path_factory.mktemp("tables") / "micro")).test


def made(split: Split, passes: int = 2, *, seed: int = 0, **changes: Any) -> RegulatorTrace:
    """Return a motion with random numbers, and some that are given."""
    pairs = len(split.captions)
    draw = np.random.default_rng(seed)
    each = {
        name: draw.uniform(0.1, 0.9, (passes, pairs * QUERIES))
        for name in ("temperature", "change", "clamped", "reach", "best", "moved", "f1", "mass")
    }
    found = {
        "direction": "t2i",
        "pair": np.arange(pairs).repeat(QUERIES),
        "place": np.tile(np.arange(QUERIES), pairs),
        "share": np.ones((2, pairs * QUERIES)),
        "score": np.zeros(pairs),
    }
    return RegulatorTrace(**{**each, **found, **changes})


@pytest.mark.filterwarnings("error")
def test_the_rank_correlation_is_spearmans() -> None:
    draw = np.random.default_rng(0)
    x, images = draw.normal(size=300), np.arange(300) // 5
    y = np.exp(x + draw.normal(size=300))
    value, low, high = tables.rank_correlation(x, y, images)
    places = [np.argsort(np.argsort(v)) for v in (x, y)]  # without ties
    assert value == pytest.approx(np.corrcoef(*places)[0, 1])
    assert 0 < low < value < high < 1
    monotone = tables.rank_correlation(x, np.exp(x), images)
    assert monotone == pytest.approx((1, 1, 1))
    for unknown in (np.full(300, np.nan), np.ones(300)):  # nothing known, and nothing ordered
        assert np.isnan(tables.rank_correlation(x, unknown, images)).all()
    assert np.isnan(tables.rank_correlation(x[:2], y[:2], images[:2])).all()  # always 1 or -1


def test_the_interval_of_a_rank_correlation_ranks_each_resample_anew() -> None:
    draw = np.random.default_rng(2)
    images = np.arange(24) // 3
    x, y = draw.integers(0, 6, (2, 24)).astype(float)
    x[[2, 9]], y[5] = np.nan, np.nan  # the pair is left out
    known = ~(np.isnan(x) | np.isnan(y))
    slow = []
    for count in np.random.default_rng(0).multinomial(8, np.full(8, 1 / 8), size=2000):
        rows = np.arange(24).repeat(count.repeat(3) * known)
        slow.append(stats.spearmanr(x[rows], y[rows]).statistic)
    found = tables.rank_correlation(x, y, images)
    value = stats.spearmanr(x[known], y[known]).statistic
    assert found == pytest.approx((value, *np.nanpercentile(slow, [2.5, 97.5])))


def test_what_only_kinds_have_in_common_is_no_correlation_within_them(split: Split) -> None:
    count = len(split.captions) * QUERIES
    kind = np.tile([0, 0, 1, 1], len(split.captions))  # hotter and better found, or neither
    draw = np.random.default_rng(1)
    heat, gain = (10.0 * kind + draw.normal(size=count) for _ in range(2))
    own = made(
        split,
        temperature=np.stack([np.zeros(count), heat]),
        f1=np.stack([np.zeros(count), gain]),
    )
    kinds = [["colour", "colour", "size", "size"]] * len(split.captions)
    row = tables.heat_and_gain(own, split, kinds).iloc[0]
    whole, within = (
        float(row[name].split()[0]) for name in ("rank correlation", "within a kind of word")
    )
    assert whole > 0.7
    assert abs(within) < 0.2


def test_the_distribution_of_every_pass(split: Split) -> None:
    count = len(split.captions) * QUERIES
    nothing = np.full((2, count), np.nan)
    own = made(split, temperature=np.stack([np.full(count, 10), np.arange(count)]), f1=nothing)
    table = tables.by_pass(own, own).set_index("")
    middle, last = (count - 1) / 2, count - 1
    assert table.loc["temperature λ", "pass 1"] == "10.00 [10.00, 10.00]"
    assert table.loc["temperature λ", "pass 2"] == (
        f"{middle:.2f} [{0.05 * last:.2f}, {0.95 * last:.2f}]"
    )
    assert table.loc["temperature λ", "hardest wrong image"] == table.loc["temperature λ", "pass 2"]
    assert "attention F1 (%)" not in table.index


def test_kinds_of_words_have_their_means(split: Split) -> None:
    captions = len(split.captions)
    share = np.tile([0.5, 1.5, 1.0, 1.0], captions)
    own = made(split, share=share[None], temperature=np.tile([9.0, 11, 10, 10], (2, captions)))
    kinds = [["size", "colour", "size", "start and end"]] * captions
    table = tables.by_kind(own, kinds).set_index("words")
    assert table.index.tolist() == ["colour", "size", "start and end"]
    assert table["weight, step 1"].tolist() == ["1.50", "0.75", "1.00"]
    assert table["λ, last pass"].tolist() == ["11.00", "9.50", "10.00"]
    assert table["number"].tolist() == [str(captions), str(2 * captions), str(captions)]
    drawn = tables.weights_by_kind(own, kinds)
    assert {kind: len(steps["step 1"]) for kind, steps in drawn.items()} == {
        "colour": captions, "size": 2 * captions, "start and end": captions,
    }  # fmt: skip
    with pytest.raises(ValueError, match="regions are of no kind"):
        tables.by_kind(made(split, direction="i2t"), kinds)


def test_own_and_wrong_images_are_compared_caption_by_caption(split: Split) -> None:
    own = made(split)
    wrong = made(split, temperature=own.temperature + 1, change=own.change * 0)
    table = tables.contrast(own, wrong, split).set_index("")
    row = table.loc["temperature λ"]
    assert row["difference"] == "-1.000 [-1.000, -1.000]"
    assert row["larger with the own (%)"] == "0.0"
    assert table.loc[tables.MEASURES["change"], "larger with the own (%)"] == "100.0"
    same = tables.contrast(own, own, split).set_index("").loc["temperature λ"]
    assert same["difference"] == "+0.000 [+0.000, +0.000]"


def test_sentences_follow_the_numbers(split: Split) -> None:
    count = len(split.captions) * QUERIES
    rising = np.stack([np.full(count, 10.0), np.full(count, 12.0)])
    own = made(split, temperature=rising, f1=np.stack([np.full(count, 0.2), np.full(count, 0.3)]))
    wrong = made(split, temperature=rising + 0.5)
    text = str(tables.said(own, wrong, split).data)
    assert "From 10.0 in the first pass to a median of 12.0" in text
    assert "100 % of the queries ask more sharply" in text
    assert "+10.0 points [+10.0, +10.0]: a gain" in text
    assert "in 0 % of the captions" in text
    assert "single pass" in str(tables.said(made(split, 1), wrong, split).data)
    unknown = made(split, f1=np.full((2, count), np.nan))
    assert "Quality" not in str(tables.said(unknown, wrong, split).data)


def test_every_interval_is_that_of_images(split: Split) -> None:
    """A word of a caption is no draw of its own: intervals by words would be narrower."""
    own, wrong = made(split), made(split, seed=1)
    images = split.caption_image
    of_words = images[own.pair]

    row = tables.contrast(own, wrong, split).set_index("").loc["temperature λ"]
    gap = own.by_pair(own.temperature[-1]) - wrong.by_pair(wrong.temperature[-1])
    assert row["difference"] == f"{mean_over_images(gap, images):+.3f}"

    moved = 100 * (own.moved[-1] - own.moved[0])
    table = tables.parts({"whole": own}, split)
    change = f"{tables.MEASURES['moved']}, change"
    assert table[change].tolist() == [f"{mean_over_images(moved, of_words):+.2f}"]

    other = 100 * (wrong.f1[-1] - own.f1[-1])
    said = str(tables.parts_said({"whole": own, "other": wrong}, split).data)
    assert f"({mean_over_images(other, of_words):+.2f})" in said

    better = mean_over_images(100 * (own.f1[-1] - own.f1[0]), of_words)
    assert better.low < 0 < better.high
    text = f"by {better.value:+.1f} points [{better.low:+.1f}, {better.high:+.1f}]: no change"
    assert text in str(tables.said(own, wrong, split).data)

    scores = {"step 1": own.by_pair(own.best[0])}
    others = {"step 1": own.by_pair(own.reach[0])}
    difference = mean_over_images(scores["step 1"] - others["step 1"], images)
    way = tables.way({"own": scores, "wrong": others}, split)
    assert way["own minus wrong"].tolist() == [f"{difference:+.3f}"]


def test_a_small_change_is_told_only_where_its_interval_leaves_zero(split: Split) -> None:
    own = made(split)
    draw = np.random.default_rng(4)
    noisy = made(split, f1=own.f1 + draw.normal(0, 0.2, own.f1.shape))
    gap = mean_over_images(100 * (noisy.f1 - own.f1)[-1], split.caption_image[own.pair])
    assert gap.low < 0 < gap.high
    assert gap.value != 0
    text = str(tables.parts_said({"whole": own, "noisy": noisy}, split).data)
    assert "noisy**: higher" not in text
    assert "noisy**: lower" not in text


def test_variants_are_told_from_the_first(split: Split) -> None:
    own = made(split)
    better = made(split, f1=own.f1 + np.array([[0.0], [0.1]]))
    text = str(tables.parts_said({"whole": own, "better": better, "same": own}, split).data)
    assert "**better**: higher (+10.00 [+10.00, +10.00])" in text
    assert "**same**: not significant (+0.00 [+0.00, +0.00])" in text
    table = tables.parts({"whole": own, "better": better}, split).set_index("second look")
    name = "attention F1 (%), change"
    first, second = (float(table.loc[n, name].split()[0]) for n in ("whole", "better"))
    assert second - first == pytest.approx(10, abs=0.011)
    blind = made(split, f1=np.full_like(own.f1, np.nan))
    assert name not in tables.parts({"blind": blind}, split)
    assert "effective number" in str(tables.parts_said({"a": blind, "b": blind}, split).data)


def test_the_pair_that_moved_most(split: Split) -> None:
    moved = np.zeros((2, len(split.captions) * QUERIES))
    moved[1, 7 * QUERIES] = 0.5
    assert tables.most_moved(made(split, moved=moved)) == 7


def test_scores_on_the_way_are_compared_with_the_step_before(split: Split) -> None:
    level = np.zeros(len(split.captions))
    own = {"equal weights": level + 0.2, "step 1": level + 0.5}
    wrong = {"equal weights": level + 0.4, "step 1": level + 0.4}
    table = tables.way({"own": own, "wrong": wrong}, split)
    assert table["moved"].tolist() == ["", "0.300"]
    assert table["own minus wrong"].tolist() == [
        "-0.200 [-0.200, -0.200]", "+0.100 [+0.100, +0.100]",
    ]  # fmt: skip
    assert table["own is larger (%)"].tolist() == ["0.0", "100.0"]


def test_what_is_drawn_leaves_out_what_is_the_same_by_construction(split: Split) -> None:
    own = made(split)
    panels = tables.panels(own, own)
    assert list(panels["temperature λ"]) == ["pass 1", "pass 2", "wrong image, last pass"]
    assert list(panels[tables.MEASURES["moved"]]) == ["pass 2", "wrong image, last pass"]
    curves = tables.heat_curves(own)
    assert list(curves) == ["weight on what is named", "attention F1"][::-1]
    np.testing.assert_allclose(curves["attention F1"][1], 100 * (own.f1[1] - own.f1[0]))
    unknown = made(split, f1=np.full_like(own.f1, np.nan))
    assert list(tables.heat_curves(unknown)) == ["largest weight"]
    pooled = tables.pooled_panels({"RAR": (own, own)})
    (curves_of,) = pooled.values()
    np.testing.assert_allclose(curves_of["step 1"], 100)
