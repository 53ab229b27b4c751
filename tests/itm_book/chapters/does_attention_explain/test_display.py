"""Summaries, tables and figures of agreement, from hand-made arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from scipy.stats import kendalltau

from itm_book.chapters.does_attention_explain.display import (
    COLOURS,
    deletion_plot,
    deletion_table,
    difference_table,
    localisation_table,
    tau_estimates,
    tau_plot,
    tau_table,
)
from itm_book.chapters.does_attention_explain.measures import (
    ATTRIBUTIONS,
    BEFORE_AFTER,
    DELETION_RANK,
    GRADIENTS,
    OCCLUSION,
    ORDERS,
    OTHER_WORD,
    OVERLAPS,
    RANDOM,
    UNTRAINED,
    AttributionAgreement,
    average_precision,
    deletion_areas,
    deletion_curve,
    localisation,
    pointing,
    pointing_difference,
    rank_agreement,
    relative_completeness_error,
    tau_differences,
    top1_deletion_rank,
    top_region_agreement,
    topk_overlap,
)
from itm_book.tables.over_images import Estimate, mean_over_images

QUERIES, REGIONS, PAIRS = 80, 12, 20


def random_agreement(seed: int = 0) -> AttributionAgreement:
    """Return attention that is the occlusion of its own word, and nothing else that agrees."""
    draw = np.random.default_rng(seed)
    attention, gradients, blank, blank_lost = draw.random((4, QUERIES, REGIONS))
    relevant = attention >= np.sort(attention, axis=1)[:, -3, None]
    removed = np.array([0, 2, REGIONS - 1])
    left = {"most": [4, 1, 0], "largest": [4, 0, 0], "random": [4, 3, 0], "least": [4, 4, 0]}
    curves = np.array(list(left.values()), float)[:, :, None] + draw.random(PAIRS) / 100
    return AttributionAgreement(
        image=np.arange(QUERIES) // 4,
        attention=attention,
        attributions={OCCLUSION: gradients, OVERLAPS: attention**3, GRADIENTS: gradients},
        completeness_error=np.full(QUERIES, 0.01),
        relevant=relevant,
        untrained_attention=blank,
        untrained_occlusion=blank_lost,
        removed=removed,
        deletion_scores=curves,
        score_margin=np.full(PAIRS, 2.0),
    )


def opposed(agreement: AttributionAgreement) -> AttributionAgreement:
    """Return the same with occlusion the other way round."""
    return replace(
        agreement, attributions={**agreement.attributions, OVERLAPS: -agreement.attention}
    )


def test_agreement_and_disagreement_are_measured() -> None:
    agreement = random_agreement()
    taus = rank_agreement(agreement)
    assert taus[OVERLAPS] == pytest.approx(1)
    assert abs(np.mean(taus[OTHER_WORD])) < 0.1
    assert rank_agreement(opposed(agreement))[OVERLAPS] == pytest.approx(-1)
    assert top_region_agreement(agreement)["top 5"].value == 1
    assert top_region_agreement(agreement)[DELETION_RANK].value == 1
    assert top_region_agreement(opposed(agreement))[DELETION_RANK].value == 0


def uneven() -> AttributionAgreement:
    """Return arrays of which no two agree; images of one to five words."""
    draw = np.random.default_rng(5)
    attention, left, copies, slopes, blank, lost = draw.random((6, 12, REGIONS))
    return replace(
        random_agreement(),
        image=np.array([7, 0, 0, 0, 0, 0, 2, 2, 3, 3, 3, 9]),
        attention=attention,
        attributions={OCCLUSION: left, OVERLAPS: copies, GRADIENTS: slopes},
        relevant=draw.random((12, REGIONS)) < 0.3,
        untrained_attention=blank,
        untrained_occlusion=lost,
    )


def by_images(values: np.ndarray, image: np.ndarray) -> float:
    return float(pd.Series(values).groupby(image).mean().mean())


def test_what_is_compared_is_what_its_name_says() -> None:
    agreement = uneven()
    maps, next_word = agreement.attributions, [0, 5, 1, 2, 3, 4, 7, 6, 10, 8, 9, 11]
    pairs = {name: (agreement.attention, values) for name, values in maps.items()} | {
        OTHER_WORD: (agreement.attention, maps[OVERLAPS][next_word]),
        ATTRIBUTIONS: (maps[OVERLAPS], maps[GRADIENTS]),
        UNTRAINED: (agreement.untrained_attention, agreement.untrained_occlusion),
        BEFORE_AFTER: (agreement.attention, agreement.untrained_attention),
    }
    taus = rank_agreement(agreement)
    assert set(taus) == set(pairs)
    for name, rows in pairs.items():
        slow = np.array([kendalltau(*pair).statistic for pair in zip(*rows, strict=True)])
        if name == OTHER_WORD:
            slow[[0, 11]] = np.nan  # alone in their images
        np.testing.assert_allclose(taus[name], slow, atol=1e-12)


def test_every_number_is_a_mean_over_images_with_the_interval_of_images() -> None:
    agreement = uneven()
    image, relevant, occlusion = (
        agreement.image,
        agreement.relevant,
        agreement.attributions[OVERLAPS],
    )
    assert relevant is not None
    pointed, pointed_by_occlusion = (
        pointing(values, relevant) for values in (agreement.attention, occlusion)
    )
    expected = {
        "top 1": (
            top_region_agreement(agreement)["top 1"],
            topk_overlap(agreement.attention, occlusion, 1),
        ),
        DELETION_RANK: (
            top_region_agreement(agreement)[DELETION_RANK],
            top1_deletion_rank(agreement.attention, occlusion),
        ),
        "pointing": (localisation(agreement)["attention"], pointed),
        "precision": (
            localisation(agreement, "average precision")[GRADIENTS],
            average_precision(agreement.attributions[GRADIENTS], relevant),
        ),
        "difference": (pointing_difference(agreement), pointed - pointed_by_occlusion),
    }
    table = tau_estimates({"A": agreement}).set_index("compared")
    for name, tau in rank_agreement(agreement).items():
        expected[name] = (Estimate(*table.loc[name, ["value", "low", "high"]]), tau)
    for estimate, values in expected.values():
        assert estimate.value == pytest.approx(by_images(values, image))
        assert estimate == pytest.approx(mean_over_images(values, image))


def test_deletion_curves_are_in_margins_and_areas_relative_to_the_random_order() -> None:
    agreement = random_agreement()
    by_order = dict(zip(ORDERS, deletion_curve(agreement).mean(2), strict=True))
    assert by_order["most attended first"] == pytest.approx([0, 1.5, 2])
    areas = deletion_areas(agreement)
    at_random = (2 * 0.25 + 9 * 1.25) / 11
    assert areas[RANDOM].value == pytest.approx(at_random)
    first = (2 * 0.75 + 9 * 1.75) / 11
    assert areas["most attended first"].value == pytest.approx(first - at_random)
    assert areas["least attended first"].value < 0
    nothing = replace(agreement, score_margin=np.zeros(PAIRS))
    assert np.isnan(deletion_areas(nothing)[RANDOM].value)


def test_truth() -> None:
    agreement = random_agreement()
    fractions = localisation(agreement)
    assert fractions["attention"].value == 1
    assert fractions["chance"].value == pytest.approx(3 / REGIONS)
    assert localisation(agreement, "average precision")["attention"].value == 1
    assert pointing_difference(agreement).value == 0
    assert pointing_difference(opposed(agreement)).low > 0
    unknown = replace(agreement, relevant=None)
    assert localisation(unknown) == {}
    assert np.isnan(pointing_difference(unknown).value)
    assert list(localisation_table({"A": unknown}, "pointing")) == ["method"]


def test_tables_have_a_row_for_each_method() -> None:
    methods = {"A": random_agreement(0), "B": opposed(random_agreement(1))}
    table = tau_table(tau_estimates(methods))
    assert table["method"].tolist() == ["A", "B"]
    assert table.loc[0, OVERLAPS] == "1.00 [1.00, 1.00]"
    assert UNTRAINED in table
    assert deletion_table(methods)["method"].tolist() == ["A", "B"]
    pointing_text = localisation_table(methods, "pointing").set_index("method")
    assert pointing_text.loc["A", "attention - occlusion"] == "+0.00 [+0.00, +0.00]"


def test_differences_of_tau_are_paired_by_query() -> None:
    agreement = uneven()
    taus, differences = rank_agreement(agreement), tau_differences(agreement)
    expected = {
        "with overlaps - without": taus[OVERLAPS] - taus[OCCLUSION],
        "same word - another word": taus[OVERLAPS] - taus[OTHER_WORD],
        "trained - untrained": taus[OVERLAPS] - taus[UNTRAINED],
    }
    assert list(differences) == list(expected)
    for name, values in expected.items():
        assert differences[name] == mean_over_images(values, agreement.image)
    assert tau_differences(random_agreement())["same word - another word"].low > 0
    assert tau_differences(opposed(random_agreement()))["same word - another word"].high < 0
    maps = {OCCLUSION: agreement.attributions[OCCLUSION], GRADIENTS: agreement.attention}
    no_boxes = tau_differences(replace(agreement, attributions=maps))
    assert list(no_boxes) == ["same word - another word", "trained - untrained"]


def test_the_completeness_error_is_relative_to_the_gradients() -> None:
    agreement = random_agreement()
    other = replace(agreement, completeness_error=np.zeros(QUERIES))
    ratio = 0.01 * QUERIES / agreement.attributions[GRADIENTS].sum()
    assert relative_completeness_error(agreement) == pytest.approx(ratio)
    table = difference_table({"A": agreement, "B": other}).set_index("method")
    assert table["completeness error (%)"].tolist() == [f"{100 * ratio:.1f}", "0.0"]


METHODS = {
    "A": random_agreement(0),
    "B": opposed(random_agreement(1)),
    "C": random_agreement(2),
    "D": random_agreement(3),
    "E": random_agreement(4),
}


def test_every_method_has_a_dot_for_each_attribution() -> None:
    estimates = tau_estimates(METHODS)
    axes = tau_plot(estimates).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == list(METHODS)
    dots = {line.get_label(): line.get_xdata() for line in axes.lines}
    for name in COLOURS:
        np.testing.assert_allclose(dots[name], estimates[estimates["compared"] == name]["value"])
    assert len(axes.collections) == len(COLOURS)


def test_every_method_has_a_panel_with_every_order() -> None:
    figure = deletion_plot(METHODS)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == list(METHODS)
    lines = {line.get_label(): line for line in panels[0].lines}
    assert set(ORDERS) <= set(lines)
    np.testing.assert_allclose(lines[ORDERS[0]].get_ydata(), [1, -0.5, -1])
    assert not plt.get_fignums()
