"""Tables and figures of what regulators change, from hand-made traces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from itm_book.chapters.regulators_in_motion import figures, tables
from itm_book.chapters.regulators_in_motion.measures import RegulatorTrace
from itm_book.tables.over_images import mean_over_images
from itm_core.data.dataset import Split, load_dataset
from tests.micro import write_dataset

QUERIES = 4  # a caption


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return load_dataset(write_dataset(tmp_path_factory.mktemp("tables") / "micro")).test


def random_trace(split: Split, passes: int = 2, *, seed: int = 0, **changes: Any) -> RegulatorTrace:
    """Return a trace of random numbers, with some of them replaced."""
    pairs = len(split.captions)
    draw = np.random.default_rng(seed)
    each = {
        name: draw.uniform(0.1, 0.9, (passes, pairs * QUERIES))
        for name in (
            "temperature",
            "factor_change",
            "clamped",
            "effective_keys",
            "max_weight",
            "shift",
            "f1",
            "mass",
        )
    }
    fixed = {
        "direction": "t2i",
        "pair": np.arange(pairs).repeat(QUERIES),
        "position": np.tile(np.arange(QUERIES), pairs),
        "pooling": np.ones((2, pairs * QUERIES)),
        "score": np.zeros(pairs),
    }
    return RegulatorTrace(**{**each, **fixed, **changes})


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
    rise, gain = (10.0 * kind + draw.normal(size=count) for _ in range(2))
    matching = random_trace(
        split,
        temperature=np.stack([np.zeros(count), rise]),
        f1=np.stack([np.zeros(count), gain]),
    )
    kinds = [["colour", "colour", "size", "size"]] * len(split.captions)
    row = tables.correlation_table(matching, split, kinds).iloc[0]
    overall, within = (
        float(row[name].split()[0]) for name in ("rank correlation", "within a kind of word")
    )
    assert overall > 0.7
    assert abs(within) < 0.2


def test_the_distribution_of_every_pass(split: Split) -> None:
    count = len(split.captions) * QUERIES
    nothing = np.full((2, count), np.nan)
    matching = random_trace(
        split, temperature=np.stack([np.full(count, 10), np.arange(count)]), f1=nothing
    )
    table = tables.pass_table(matching, matching).set_index("")
    middle, last = (count - 1) / 2, count - 1
    assert table.loc["temperature λ", "pass 1"] == "10.00 [10.00, 10.00]"
    assert table.loc["temperature λ", "pass 2"] == (
        f"{middle:.2f} [{0.05 * last:.2f}, {0.95 * last:.2f}]"
    )
    assert (
        table.loc["temperature λ", "hard negative, last pass"]
        == table.loc["temperature λ", "pass 2"]
    )
    assert "attention F1 (%)" not in table.index


def test_kinds_of_words_have_their_means(split: Split) -> None:
    captions = len(split.captions)
    weight = np.tile([0.5, 1.5, 1.0, 1.0], captions)
    matching = random_trace(
        split, pooling=weight[None], temperature=np.tile([9.0, 11, 10, 10], (2, captions))
    )
    kinds = [["size", "colour", "size", "start and end"]] * captions
    table = tables.kind_table(matching, kinds).set_index("words")
    assert table.index.tolist() == ["colour", "size", "start and end"]
    assert table["weight, step 1"].tolist() == ["1.50", "0.75", "1.00"]
    assert table["λ, last pass"].tolist() == ["11.00", "9.50", "10.00"]
    assert table["number"].tolist() == [str(captions), str(2 * captions), str(captions)]
    drawn = figures.pooling_by_kind(matching, kinds)
    assert {kind: len(steps["step 1"]) for kind, steps in drawn.items()} == {
        "colour": captions, "size": 2 * captions, "start and end": captions,
    }  # fmt: skip
    with pytest.raises(ValueError, match="only words have a kind"):
        tables.kind_table(random_trace(split, direction="i2t"), kinds)


def test_own_and_wrong_images_are_compared_caption_by_caption(split: Split) -> None:
    matching = random_trace(split)
    negative = random_trace(
        split, temperature=matching.temperature + 1, factor_change=matching.factor_change * 0
    )
    table = tables.contrast_table(matching, negative, split).set_index("")
    row = table.loc["temperature λ"]
    assert row["difference"] == "-1.000 [-1.000, -1.000]"
    assert row["larger for the match (%)"] == "0.0"
    assert table.loc[tables.MEASURES["factor_change"], "larger for the match (%)"] == "100.0"
    same = tables.contrast_table(matching, matching, split).set_index("").loc["temperature λ"]
    assert same["difference"] == "+0.000 [+0.000, +0.000]"


def test_every_interval_is_that_of_images(split: Split) -> None:
    """A word of a caption is no draw of its own: intervals by words would be narrower."""
    matching, negative = random_trace(split), random_trace(split, seed=1)
    images = split.caption_image
    of_words = images[matching.pair]

    row = tables.contrast_table(matching, negative, split).set_index("").loc["temperature λ"]
    gap = matching.by_pair(matching.temperature[-1]) - negative.by_pair(negative.temperature[-1])
    assert row["difference"] == f"{mean_over_images(gap, images):+.3f}"

    shift = 100 * (matching.shift[-1] - matching.shift[0])
    table = tables.ablation_table({"full": matching}, split)
    change = f"{tables.MEASURES['shift']}, change"
    assert table[change].tolist() == [f"{mean_over_images(shift, of_words):+.2f}"]

    other = 100 * (negative.f1[-1] - matching.f1[-1])
    table = tables.ablation_table({"full": matching, "other": negative}, split)
    column = f"{tables.MEASURES['f1']}, difference to full"
    assert table[column].tolist() == ["", f"{mean_over_images(other, of_words):+.2f}"]

    scores = {"step 1": matching.by_pair(matching.max_weight[0])}
    others = {"step 1": matching.by_pair(matching.effective_keys[0])}
    difference = mean_over_images(scores["step 1"] - others["step 1"], images)
    steps = tables.step_table({"matching": scores, "negative": others}, split)
    assert steps["difference"].tolist() == [f"{difference:+.3f}"]


def test_the_raised_queries_are_counted(split: Split) -> None:
    count = len(split.captions) * QUERIES
    rising = np.stack([np.full(count, 10.0), np.arange(count) % 4 + 9.0])  # 9, 10, 11, 12
    table = tables.pass_table(random_trace(split, temperature=rising)).set_index("")
    assert table.loc["temperature λ", "raised (%)"] == "50"
    assert table.loc[tables.MEASURES["shift"], "raised (%)"] == ""
    assert "raised (%)" not in tables.pass_table(random_trace(split, 1))


def test_variants_are_compared_with_the_first(split: Split) -> None:
    matching = random_trace(split)
    better = random_trace(split, f1=matching.f1 + np.array([[0.0], [0.1]]))
    variants = {"full": matching, "better": better, "same": matching}
    table = tables.ablation_table(variants, split).set_index("variant")
    difference = table["attention F1 (%), difference to full"]
    assert difference["better"] == "+10.00 [+10.00, +10.00]"
    change = table["attention F1 (%), change"]
    full, other = (float(change[n].split()[0]) for n in ("full", "better"))
    assert other - full == pytest.approx(10, abs=0.011)
    unknown = random_trace(split, f1=np.full_like(matching.f1, np.nan))
    table = tables.ablation_table({"a": unknown, "b": unknown}, split)
    assert "attention F1 (%), change" not in table
    assert f"{tables.MEASURES['effective_keys']}, difference to a" in table


def test_the_pair_with_the_largest_shift(split: Split) -> None:
    shift = np.zeros((2, len(split.captions) * QUERIES))
    shift[1, 7 * QUERIES] = 0.5
    assert tables.largest_shift(random_trace(split, shift=shift)) == 7


def test_truncated_scores_are_compared_with_the_step_before(split: Split) -> None:
    level = np.zeros(len(split.captions))
    matching = {"uniform weights": level + 0.2, "step 1": level + 0.5}
    negative = {"uniform weights": level + 0.4, "step 1": level + 0.4}
    table = tables.step_table({"matching": matching, "negative": negative}, split)
    assert table["change"].tolist() == ["", "0.300"]
    assert table["difference"].tolist() == [
        "-0.200 [-0.200, -0.200]", "+0.100 [+0.100, +0.100]",
    ]  # fmt: skip
    assert table["match is larger (%)"].tolist() == ["0.0", "100.0"]


def test_what_is_drawn_leaves_out_what_is_the_same_by_construction(split: Split) -> None:
    matching = random_trace(split)
    panels = figures.pass_panels(matching, matching)
    assert list(panels["temperature λ"]) == ["pass 1", "pass 2", "hard negative, last pass"]
    assert list(panels[tables.MEASURES["shift"]]) == ["pass 2", "hard negative, last pass"]
    curves = figures.temperature_gains(matching)
    assert list(curves) == ["attention mass on relevant regions", "attention F1"][::-1]
    np.testing.assert_allclose(curves["attention F1"][1], 100 * (matching.f1[1] - matching.f1[0]))
    unknown = random_trace(split, f1=np.full_like(matching.f1, np.nan))
    assert list(figures.temperature_gains(unknown)) == ["largest weight"]
    pooled = figures.pooling_panels({"RAR": (matching, matching)})
    (curves_of,) = pooled.values()
    np.testing.assert_allclose(curves_of["step 1"], 100)
