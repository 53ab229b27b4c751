"""Sentences and tables say what was put into the numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from itm_book.chapters.does_attention_explain.agreement import (
    COPIES,
    GRADIENTS,
    LEFT_OUT,
    ORDERS,
    Looks,
    overlap,
    pointing,
    precision,
    top1_deletion_rank,
)
from itm_book.chapters.does_attention_explain.tables import (
    ANOTHER,
    BEFORE,
    BOTH,
    COSTS,
    SAME,
    agreements,
    areas,
    closer,
    falls,
    grade,
    missed,
    readable_agreements,
    readable_costs,
    readable_truth,
    readable_verdicts,
    redundancy,
    taus,
    tops,
    truthful,
    verdict,
    verdicts,
)
from itm_core.evaluation.statistics import UNKNOWN, Estimate, mean_over_images

QUERIES, REGIONS, PAIRS = 80, 12, 20


def made(seed: int = 0) -> Looks:
    """Return attention that is the occlusion of its own word, and nothing else that agrees."""
    draw = np.random.default_rng(seed)
    attention, gradients, blank, blank_lost = draw.random((4, QUERIES, REGIONS))
    relevant = attention >= np.sort(attention, axis=1)[:, -3, None]
    removed = np.array([0, 2, REGIONS - 1])
    left = {"most": [4, 1, 0], "largest": [4, 0, 0], "random": [4, 3, 0], "least": [4, 4, 0]}
    curves = np.array(list(left.values()), float)[:, :, None] + draw.random(PAIRS) / 100
    return Looks(
        image=np.arange(QUERIES) // 4,
        attention=attention,
        attributions={LEFT_OUT: gradients, COPIES: attention**3, GRADIENTS: gradients},
        missed=np.full(QUERIES, 0.01),
        relevant=relevant,
        blank=blank,
        blank_lost=blank_lost,
        removed=removed,
        curves=curves,
        lead=np.full(PAIRS, 2.0),
    )


def against(looks: Looks) -> Looks:
    """Return the same with occlusion the other way round."""
    return replace(looks, attributions={**looks.attributions, COPIES: -looks.attention})


def test_what_agrees_is_told_from_what_does_not() -> None:
    looks = made()
    found = taus(looks)
    assert found[COPIES] == pytest.approx(1)
    assert abs(np.mean(found[ANOTHER])) < 0.1
    assert taus(against(looks))[COPIES] == pytest.approx(-1)
    assert tops(looks)["top 5"].value == 1
    assert tops(looks)[COSTS].value == 1
    assert tops(against(looks))[COSTS].value == 0


def uneven() -> Looks:
    """Return arrays of which no two agree; images of one to five words."""
    draw = np.random.default_rng(5)
    attention, left, copies, slopes, blank, lost = draw.random((6, 12, REGIONS))
    return replace(
        made(),
        image=np.array([7, 0, 0, 0, 0, 0, 2, 2, 3, 3, 3, 9]),
        attention=attention,
        attributions={LEFT_OUT: left, COPIES: copies, GRADIENTS: slopes},
        relevant=draw.random((12, REGIONS)) < 0.3,
        blank=blank,
        blank_lost=lost,
    )


def by_images(values: np.ndarray, image: np.ndarray) -> float:
    return float(pd.Series(values).groupby(image).mean().mean())


def test_what_is_compared_is_what_its_name_says() -> None:
    looks = uneven()
    maps, next_word = looks.attributions, [0, 5, 1, 2, 3, 4, 7, 6, 10, 8, 9, 11]
    pairs = {name: (looks.attention, one) for name, one in maps.items()} | {
        ANOTHER: (looks.attention, maps[COPIES][next_word]),
        BOTH: (maps[COPIES], maps[GRADIENTS]),
        BEFORE: (looks.blank, looks.blank_lost),
        SAME: (looks.attention, looks.blank),
    }
    found = taus(looks)
    assert set(found) == set(pairs)
    for name, rows in pairs.items():
        slow = np.array([kendalltau(*pair).statistic for pair in zip(*rows, strict=True)])
        if name == ANOTHER:
            slow[[0, 11]] = np.nan  # alone in their images
        np.testing.assert_allclose(found[name], slow, atol=1e-12)


def test_every_number_is_a_mean_over_images_with_the_interval_of_images() -> None:
    looks = uneven()
    image, relevant, occlusion = looks.image, looks.relevant, looks.attributions[COPIES]
    assert relevant is not None
    ours, theirs = (pointing(one, relevant) for one in (looks.attention, occlusion))
    expected = {
        "top 1": (tops(looks)["top 1"], overlap(looks.attention, occlusion, 1)),
        COSTS: (tops(looks)[COSTS], top1_deletion_rank(looks.attention, occlusion)),
        "pointing": (truthful(looks)["attention"], ours),
        "precision": (
            truthful(looks, "average precision")[GRADIENTS],
            precision(looks.attributions[GRADIENTS], relevant),
        ),
        "closer": (closer(looks), ours - theirs),
    }
    table = agreements({"A": looks}).set_index("what")
    for name, tau in taus(looks).items():
        expected[name] = (Estimate(*table.loc[name, ["value", "low", "high"]]), tau)
    for one, values in expected.values():
        assert one.value == pytest.approx(by_images(values, image))
        assert one == pytest.approx(mean_over_images(values, image))


def test_sentences() -> None:
    said = verdict(made())
    assert said.startswith("attention and leaving out agree closely (1.00 [1.00, 1.00])")
    assert "more than with another word's loss and more than with the matcher before" in said
    assert "**no more**" not in said
    assert "the gradients do not agree more than chance" in said
    assert "run against each other" in verdict(against(made()))
    same = replace(made(), blank=made().attention, blank_lost=made().attention)
    assert "**no more** than with the matcher before training" in verdict(same)
    assert str(verdicts({"A": made(), "B": made()}).data).count("* **") == 2


@pytest.mark.parametrize(
    ("tau", "word"),
    [
        (Estimate(0.7, 0.6, 0.8), "agree closely"),
        (Estimate(0.2999, 0.2, 0.4), "agree in part"),  # shown as 0.30, so called so
        (Estimate(0.1, 0.05, 0.2), "agree weakly"),
        (Estimate(0.001, 0.0005, 0.002), "agree weakly"),
        (Estimate(0.1, -0.1, 0.2), "do not agree more than chance"),
        (Estimate(-0.2, -0.3, -0.1), "run against each other"),
        (UNKNOWN, "cannot be compared"),
    ],
)
def test_grades(tau: Estimate, word: str) -> None:
    assert grade(tau).startswith(word)


def test_falls_are_in_leads_and_areas_beside_the_random_order() -> None:
    looks = made()
    by_order = dict(zip(ORDERS, falls(looks).mean(2), strict=True))
    assert by_order["most attended first"] == pytest.approx([0, 1.5, 2])
    found = areas(looks)
    at_random = (2 * 0.25 + 9 * 1.25) / 11
    assert found["at random"].value == pytest.approx(at_random)
    first = (2 * 0.75 + 9 * 1.75) / 11
    assert found["most attended first"].value == pytest.approx(first - at_random)
    assert found["least attended first"].value < 0
    nothing = replace(looks, lead=np.zeros(PAIRS))
    assert np.isnan(areas(nothing)["at random"].value)


def test_truth() -> None:
    looks = made()
    found = truthful(looks)
    assert found["attention"].value == 1
    assert found["chance"].value == pytest.approx(3 / REGIONS)
    assert truthful(looks, "average precision")["attention"].value == 1
    assert closer(looks).value == 0
    assert closer(against(looks)).low > 0
    unknown = replace(looks, relevant=None)
    assert truthful(unknown) == {}
    assert np.isnan(closer(unknown).value)
    assert list(readable_truth({"A": unknown}, "pointing")) == ["method"]


def test_tables_have_a_row_for_each_method() -> None:
    found = {"A": made(0), "B": against(made(1))}
    table = readable_agreements(agreements(found))
    assert table["method"].tolist() == ["A", "B"]
    assert table.loc[0, COPIES] == "1.00 [1.00, 1.00]"
    assert BEFORE in table
    assert readable_costs(found)["method"].tolist() == ["A", "B"]
    words = readable_verdicts(found).set_index("method")
    assert words.loc["A"].tolist() == ["more", "faster", "not significant"]
    assert words.loc["B"].tolist() == ["less", "faster", "attention"]


def test_an_interval_that_holds_the_line_is_on_no_side_of_it() -> None:
    looks = uneven()
    for one, line, column, sides in (
        (tops(looks)[COSTS], 0.5, "its most attended region is missed", ("more", "less")),
        (closer(looks), 0, "points more often at what is named", ("attention", "leaving out")),
    ):
        assert one.low < line < one.high
        assert one.value != line
        assert readable_verdicts({"A": looks})[column][0] not in sides


def test_what_near_copies_change_is_said() -> None:
    said = str(redundancy({"A": made(), "B": against(made())}).data)
    assert "higher for A (+" in said
    assert "lower for B (-" in said
    no_boxes = {LEFT_OUT: made().attention, GRADIENTS: made().attention}
    assert "no boxes" in str(redundancy({"A": replace(made(), attributions=no_boxes)}).data)


def test_what_gradients_miss_is_said() -> None:
    one, other = made(), replace(made(), missed=np.zeros(QUERIES))
    share = 100 * 0.01 * QUERIES / one.attributions[GRADIENTS].sum()
    assert f"from 0.0 % (*B*) to {share:.1f} % (*A*)" in str(missed({"A": one, "B": other}).data)
