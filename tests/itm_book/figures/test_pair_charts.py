"""Charts of a pair: bars add up, steps are all there, differences are differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from itm_book.figures import pair_charts
from itm_book.pairs.pair_records import DirectionRecord, PairRecord
from itm_core.errors import InputError
from tests.itm_book.figures.test_attention_maps import WEIGHTS, made

SHARES = np.array([0.1, 0.02, -0.3])


def side(direction: str, *, passes: int = 1, pooling: int = 0, regions: int = 3) -> DirectionRecord:
    """Return how words or many regions asked, worked out by hand."""
    queries = 3 if direction == "t2i" else regions
    weights = [np.roll(np.resize(WEIGHTS, (3, regions)), k, 1) for k in range(passes)]
    contribution = SHARES if direction == "t2i" else np.linspace(-0.2, 0.3, regions)
    heat = [np.full(queries, 9.0 + k) for k in range(passes)]
    return DirectionRecord(direction, weights, heat, [heat[0] / (1 + k) for k in range(pooling)],
                  contribution, [])  # fmt: skip


def scored(*directions: DirectionRecord, name: str = "RCAR") -> PairRecord:
    """Return a record of these directions whose shares and rest add up."""
    regions = directions[0].weights[0].shape[1]
    shares = sum(float(one.contribution.sum()) for one in directions)
    pair = replace(made().pair, regions=regions)
    return PairRecord(name, pair, list(directions), 0.05, shares + 0.05)


RECORDS = {
    "words ask": scored(side("t2i")),
    "regions ask": scored(side("i2t", regions=36)),
    "both": scored(side("t2i"), side("i2t")),
    "regulated": scored(side("t2i", passes=2, pooling=2)),
}


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() or axes.get_title(loc="left") for axes in figure.axes if axes.axison]


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_the_bars_add_up_to_the_score(record: PairRecord) -> None:
    (axes,) = pair_charts.contributions(record).axes
    *bars, score = axes.patches
    starts = [bar.get_x() for bar in bars]
    ends = [bar.get_x() + bar.get_width() for bar in bars]
    assert starts[0] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(starts[1:], ends[:-1], atol=1e-6)
    assert ends[-1] == pytest.approx(record.score, abs=1e-5)
    assert score.get_x() + score.get_width() == pytest.approx(record.score)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert len(names) == len(bars) + 1
    assert names[-2:] == ["remainder", "score"]


def test_a_bar_is_as_long_as_the_share_and_losses_have_their_colour() -> None:
    (axes,) = pair_charts.contributions(made()).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.1, -0.2, 0.4, 0.05, 0.35])
    gain, loss = (bar.get_facecolor() for bar in axes.patches[:2])
    assert gain != loss
    assert len(pair_charts.contributions([made(), made("BFAN")]).axes) == 2


def test_every_pass_has_its_row() -> None:
    record = RECORDS["regulated"]
    figure = pair_charts.steps(record)
    assert titles(figure) == [
        title for k in (1, 2) for title in (f"attention, pass {k}", "temperature", "pooling weight")
    ]
    side = record.direction()
    for k, (matrix, temperature, pooling) in enumerate(np.reshape(figure.axes, (2, 3))):
        drawn = matrix.collections[0].get_array().reshape(side.weights[k].shape)
        np.testing.assert_array_equal(drawn, side.weights[k])
        widths = [bar.get_width() for bar in temperature.patches]
        np.testing.assert_allclose(widths, side.temperature[k])
        widths = [bar.get_width() for bar in pooling.patches]
        np.testing.assert_allclose(widths, side.pooling[k])


def test_who_asks_stands_in_the_rows() -> None:
    record = RECORDS["regions ask"]
    matrix = pair_charts.steps(record).axes[0]
    drawn = matrix.collections[0].get_array().reshape(record.pair.regions, -1)
    np.testing.assert_array_equal(drawn, record.direction().weights[0].T)


def test_a_host_has_one_pass_and_no_pooling_and_steps_may_outnumber_passes() -> None:
    assert titles(pair_charts.steps(made())) == ["attention, pass 1", "temperature"]
    record = made()
    side = replace(record.direction(), pooling=[np.ones(3) / 3] * 3)
    figure = pair_charts.steps(replace(record, directions=[side]))
    assert titles(figure).count("pooling weight") == 3
    assert titles(figure).count("temperature") == 1


def test_a_comparison_draws_the_difference() -> None:
    other = WEIGHTS[[1, 0, 2]]
    figure = pair_charts.compare(made(), made("RCAR", other))
    drawn = figure.axes[0].collections[0].get_array().reshape(3, 3)
    np.testing.assert_allclose(drawn, other - WEIGHTS)
    assert titles(figure)[:3] == ["change of the weights", "attention F1", "contribution"]
    f1 = figure.axes[1].lines[0].get_xdata()
    np.testing.assert_allclose(f1, [np.nan, 2 / 3, 1])


def test_methods_that_look_in_different_ways_are_not_compared() -> None:
    words, regions = RECORDS["words ask"], scored(side("i2t"), name="SCAN i2t")
    with pytest.raises(
        InputError, match="no direction of attention in common.*t2i of RCAR, i2t of SCAN i2t"
    ):
        pair_charts.compare(words, regions)
    both = pair_charts.compare(regions, RECORDS["both"])  # in the one direction that both have
    assert titles(both)[0] == "change of the weights"
    assert "contribution" not in titles(both)  # which regions have there, not words
    with pytest.raises(InputError, match="different pairs"):
        pair_charts.compare(made(), made(image="8"))


def test_many_regions_are_the_largest_and_the_others() -> None:
    (axes,) = pair_charts.contributions(RECORDS["regions ask"]).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == "region 35"
    assert names[pair_charts.MOST_REGIONS :] == ["28 regions", "remainder", "score"]
