"""Tables of attention against people's boxes, against numbers worked out from the drawn record."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from itm_book.records import attention
from itm_book.records.attention import ALL, UNIFORM, UNTRAINED
from itm_book.tables import people_boxes, people_boxes_gains, verdicts
from itm_book.tables.labels import GAIN, UNTESTABLE
from itm_book.tables.people_boxes import chosen, summary
from itm_core.errors import InputError
from itm_core.evaluation import statistics
from tests.attention_lines import GRID, IMAGES, LEVEL, SEEDS, counts_of, means_of, write_record

RECIPES = {"CHAN": "chan", "SCAN": "scan-t2i-mean", "RCAR": "rcar-t2i"}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    path = tmp_path_factory.mktemp("record") / "attention.csv"
    write_record(path)
    return attention.recorded(GRID, "tiny", path=path)


def values(name: str, kind: str = ALL, measure: str = "pointing") -> np.ndarray:
    """Trained values of every image in percent, ``[seeds, I]``."""
    recipe = RECIPES[name]
    return 100 * np.array([means_of(recipe, seed, kind, measure, LEVEL[recipe]) for seed in SEEDS])


def mean(images: np.ndarray, kind: str = ALL) -> float:
    """The mean over words of means of images ``[I]``."""
    counts = counts_of(kind)
    return float((counts * images).sum() / counts.sum())


def drawn(images: np.ndarray, kind: str = ALL) -> list[float]:
    """The mean over words in every resample of images, one resample after the other."""
    counts, found = counts_of(kind), []
    for times in statistics.image_counts(IMAGES):
        copies = np.repeat(np.arange(IMAGES), times)
        if counts[copies].sum():
            found.append((counts[copies] * images[copies]).sum() / counts[copies].sum())
    return found


@pytest.mark.parametrize("kind", [ALL, "people", "instruments"])
def test_a_mean_over_seeds_with_its_interval(kind: str, lines: pd.DataFrame) -> None:
    table = summary(lines, kind=kind).set_index("name")
    for name in RECIPES:
        by_seed = [mean(images, kind) for images in values(name, kind)]
        row = table.loc[name]
        assert row["value"] == pytest.approx(np.mean(by_seed), abs=1e-3)
        assert row["spread"] == pytest.approx(np.std(by_seed, ddof=1), abs=1e-3)
        ends = np.percentile(drawn(values(name, kind).mean(0), kind), [2.5, 97.5])
        assert [row["low"], row["high"]] == pytest.approx(ends, abs=1e-2)
        count = counts_of(kind).sum()
        assert row["with_dropped"] == pytest.approx(row["value"] * count / (count + 20))


def test_reference_levels(lines: pd.DataFrame) -> None:
    uniform = chosen(lines, weights=UNIFORM).iloc[0]
    for measure in ("pointing", "f1", "average_precision"):
        table = summary(lines, measure).set_index("name")
        untrained = chosen(lines, weights=UNTRAINED)
        scan = untrained[untrained["name"] == "SCAN"][measure].mean()
        assert table.loc["SCAN", "untrained"] == pytest.approx(100 * scan)
        assert table.loc["SCAN", "uniform"] == pytest.approx(100 * uniform[measure])
    assert summary(lines, "f1")["chance"].tolist() == pytest.approx([20.0] * 3)
    ranked = summary(lines, "average_precision")  # at random as with equal weights
    assert ranked["chance"].tolist() == ranked["uniform"].tolist()


@pytest.mark.parametrize("measure", ["pointing", "f1"])
def test_a_gain_over_the_host_is_paired(measure: str, lines: pd.DataFrame) -> None:
    table = people_boxes_gains.gains(lines, measure)
    (row,) = table.to_dict("records")  # SCAN and CHAN are hosts
    assert (row["name"], row["host"], row["group"]) == ("RCAR", "SCAN", "regulators")
    differences = values("RCAR", measure=measure) - values("SCAN", measure=measure)
    by_seed = [mean(images) for images in differences]
    assert row["gain"] == pytest.approx(np.mean(by_seed), abs=1e-3)
    over_seeds = statistics.over_seeds(by_seed)
    assert row["p_seeds"] == pytest.approx(over_seeds.p, rel=1e-2)
    assert row["deviation"] == pytest.approx(over_seeds.sd, rel=1e-3)
    error = statistics.image_error(row["low"], row["high"])
    assert row["detectable"] == pytest.approx(
        statistics.detectable(over_seeds.sd, row["seeds"], over_images=error), rel=1e-3
    )
    resampled = np.array(drawn(differences.mean(0)))
    assert [row["low"], row["high"]] == pytest.approx(
        np.percentile(resampled, [2.5, 97.5]), abs=0.02
    )
    assert row["p_images"] == pytest.approx(float(statistics.image_p(resampled)))
    assert row["p"] == max(row["p_images"], row["p_seeds"])
    assert row["effect"] == GAIN
    assert row["runs"][0] == "photographs/rcar-t2i/0-abc"
    assert len(row["runs"]) == 6


def test_a_claim_takes_a_table_of_gains(lines: pd.DataFrame) -> None:
    cell = verdicts.claim(1, "it points better", people_boxes_gains.gains(lines), ["RCAR"])
    assert cell["verdict"] == "holds"
    assert cell["evidence"].startswith("RCAR over SCAN: +")


def test_the_last_pass_against_the_first(lines: pd.DataFrame) -> None:
    (row,) = people_boxes_gains.over_first_pass(lines).to_dict("records")
    first = chosen(lines, passed="first")["pointing"].mean()
    last = chosen(lines)[chosen(lines)["name"] == "RCAR"]["pointing"].mean()
    assert row["gain"] == pytest.approx(100 * (last - first))
    assert row["host"] == "RCAR, first pass"


def test_one_seed_is_not_testable(lines: pd.DataFrame) -> None:
    one = lines[lines["seed"] == 0]
    (row,) = people_boxes_gains.gains(one).to_dict("records")
    assert row["effect"] == UNTESTABLE
    shown = people_boxes_gains.readable_gains(pd.DataFrame([row]))
    assert list(shown) == ["method", "effect", "gain in pointing (points)", "over", "seeds"]


def test_equal_methods_have_no_gain(lines: pd.DataFrame) -> None:
    table = people_boxes_gains.gains(lines, over={"RCAR": "SCAN", "SCAN": "SCAN"})
    assert table["name"].tolist() == ["RCAR"]
    copy = lines[lines["name"] == "SCAN"].assign(name="copy", host="SCAN")
    row = people_boxes_gains.gains(pd.concat([lines, copy])).set_index("name").loc["copy"]
    assert (row["gain"], row["low"], row["high"], row["p"]) == (0, 0, 0, 1)


def test_measures_without_images_are_refused(lines: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="no images of f1"):
        people_boxes_gains.gains(lines, "f1", kind="people")
    with pytest.raises(InputError, match="no record of images"):
        people_boxes_gains.gains(lines, iou=0.3, kind="people")
    table = summary(lines, "f1", iou=0.3, kind="people")  # values without intervals
    assert table["low"].isna().all()
    assert table["value"].notna().all()


def test_readable_tables(lines: pd.DataFrame) -> None:
    shown = people_boxes.readable(summary(lines))
    assert shown["method"].tolist() == ["RCAR", "SCAN", "CHAN"]
    first = summary(lines).set_index("name").loc["RCAR"]
    text = f"{first['value']:.1f} [{first['low']:.1f}, {first['high']:.1f}] ± {first['spread']:.1f}"
    assert shown["pointing"].iloc[0] == text
    measures = people_boxes.all_measures(lines)
    assert measures["method"].tolist() == ["uniform weights", "CHAN", "SCAN", "RCAR"]
    assert measures["F1 by chance"].tolist() == ["", "20.0", "20.0", "20.0"]
    at_ious = people_boxes.by_iou(lines)
    assert list(at_ious) == ["method", "IoU 0.3", "IoU 0.5", "IoU 0.7"]
    assert at_ious["IoU 0.5"].iloc[2] == f"{text} (20.0)"


def test_types_with_few_words_are_left_out(lines: pd.DataFrame) -> None:
    table = people_boxes.by_type(lines)
    kinds = sorted(("people", "animals"), key=lambda kind: -counts_of(kind).sum())
    assert list(dict.fromkeys(table["kind"])) == kinds
    assert people_boxes.by_type(lines, least=10**6).empty


def test_the_caption_says_what_was_counted(lines: pd.DataFrame) -> None:
    assert people_boxes.status(lines) == (
        f"photographs, test split, {counts_of(ALL).sum()} words with a relevant region at an IoU "
        "of 0.5, 20 without one left out; 3 seeds; recorded, annotation 01234567"
    )
