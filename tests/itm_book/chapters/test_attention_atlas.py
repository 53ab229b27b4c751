"""The atlas: pairs drawn at random, sorted by attention quality, with the worst among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from itm_book.chapters import attention_atlas
from itm_book.pages import building
from itm_book.pages.chapters import PRESETS, SEEDS
from itm_book.pairs.split_attention import MEASURES, QUERIES, SplitAttention
from itm_book.records import grids
from itm_core.data.dataset import Split, load_dataset
from itm_core.errors import InputError
from itm_core.evaluation.attention_quality import attention_quality
from itm_core.experiments.prepare import encode
from itm_core.experiments.runs import train_or_load
from tests import scenes_pair
from tests.micro import SMALL, write_dataset

METHODS = ("bfan-equal",)  # attends both ways


@pytest.fixture(scope="module")
def made(scenes_folder: Path) -> SplitAttention:
    split = scenes_pair.scenes(scenes_folder)
    return SplitAttention(
        {name: scenes_pair.trained(scenes_folder, name) for name in METHODS}, split
    )


def rows(**methods: list[float]) -> pd.DataFrame:
    """Return a table of words that ask: F1 of pairs (0, 0), (0, 1) and so on, by method."""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "method": name.replace("_", " "),
                    "queries": "words",
                    "image": 0,
                    "caption": range(len(values)),
                    "f1": values,
                    "score": values,
                }
            )
            for name, values in methods.items()
        ],
        ignore_index=True,
    )


def test_the_finding_names_the_lowest_and_the_highest_mean_and_the_pairs_of_the_best() -> None:
    text = attention_atlas.finding(rows(scan=[0.2, 0.4], a_host=[0.5, 0.7])).data
    assert "of 2 methods lies between 30.0 % (scan) and 60.0 % (a host)" in text
    assert "80 % of the pairs lie between 52.0 % and 68.0 %" in text
    unannotated = rows(scan=[0.2]).assign(f1=np.nan)
    assert "no annotation of words" in attention_atlas.finding(unannotated).data


def test_a_draw_is_a_lot_that_can_be_drawn_again(made: SplitAttention) -> None:
    count = len(made.split.captions)
    first = attention_atlas.draw(made.split, 20, 3)
    assert first == attention_atlas.draw(made.split, 20, 3)
    assert first != attention_atlas.draw(made.split, 20, 4)
    assert len(set(first)) == 20
    assert set(attention_atlas.draw(made.split, count, 0)) == {
        (image, caption) for image in range(len(made.split.regions)) for caption in range(5)
    }
    for wrong in (0, count + 1):
        with pytest.raises(InputError, match=f"cannot draw.*1 to {count}.*found {wrong}"):
            attention_atlas.draw(made.split, wrong, 0)


def test_every_pair_has_the_measures_of_its_record(made: SplitAttention) -> None:
    table = made.table.set_index(["method", "queries", "image", "caption"])
    assert len(table) == len(made.split.captions) * 2  # words and regions
    for image, caption in attention_atlas.draw(made.split, 4, 1):
        for name, record in made.records(image, caption).items():
            for side in record.directions:
                row = table.loc[name, QUERIES[side.direction], image, caption]
                assert row["score"] == pytest.approx(record.score, abs=1e-5)
                found = side.measures() or (np.nan,) * 3
                np.testing.assert_allclose(row[MEASURES].astype(float), found, atol=1e-6)


def test_words_weighted_by_their_number_make_the_measure_of_the_split(
    made: SplitAttention,
) -> None:
    run, split = made.runs["bfan-equal"], made.split
    tokens = encode(split, run.vocabulary)
    whole = attention_quality(made.matchers["bfan-equal"], split, tokens)
    rows = made.table[made.table["queries"] == "words"].reset_index(drop=True)
    tokens, shown = split.words(), shown_objects(split)
    assert tokens is not None
    count = np.array(
        [
            sum(
                any((place // 5, k) in shown for k in (t or {}).get("objects", [])) for t in caption
            )
            for place, caption in enumerate(tokens)
        ]
    )
    known = count > 0
    assert rows["f1"].notna().tolist() == known.tolist()
    mean = np.average(rows["f1"][known], weights=count[known])
    assert mean == pytest.approx(whole["t2i"].f1, abs=1e-6)


def shown_objects(split: Split) -> set[tuple[int, int]]:
    """Return the image and number of every object that a region shows by half, plainly."""
    objects, boxes = split.objects(), split.boxes
    assert objects is not None
    assert boxes is not None
    return {
        (image, k)
        for image, found in enumerate(objects)
        for k, thing in enumerate(found["objects"])
        if any(overlap(box, thing["box"]) >= 0.5 for box in boxes[image])
    }


def overlap(one: np.ndarray, other: list[float]) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    common = max(wide, 0) * max(tall, 0)
    area = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    return float(common / (area - common))


def test_pairs_are_sorted_by_the_mean_over_the_methods() -> None:
    table = rows(SCAN=[0.2, 0.9, 0.4, np.nan], RCAR_two=[0.4, 0.7, 0.2, np.nan])
    ranked = attention_atlas.ranking(table, [(0, 0), (0, 1), (0, 2), (0, 3)])
    assert ranked["caption"].tolist() == [1, 0, 2, 3]
    assert ranked["mean"].tolist()[:3] == pytest.approx([0.8, 0.3, 0.3])
    assert list(ranked) == ["image", "caption", "mean", "SCAN", "RCAR two"]
    assert ranked.attrs["by"] == "attention F1, words as queries"
    picked = attention_atlas.picks(ranked)
    assert picked == {"best": [(0, 1)], "middle": [(0, 0)], "worst": [(0, 2)]}
    assert attention_atlas.readable(ranked)["mean"].tolist()[0] == pytest.approx(80)
    few = attention_atlas.ranking(table, [(0, 2), (0, 0)])
    assert few["caption"].tolist() == [2, 0]  # equals in the order of the draw


def test_regions_are_left_out_where_words_ask_too() -> None:
    words, regions = rows(SCAN=[0.2, 0.6]), rows(SCAN=[1.0, 0.0]).assign(queries="regions")
    both = attention_atlas.ranking(pd.concat([words, regions]), [(0, 0), (0, 1)])
    assert both["caption"].tolist() == [1, 0]
    alone = attention_atlas.ranking(regions, [(0, 0), (0, 1)])
    assert alone["caption"].tolist() == [0, 1]
    assert alone.attrs["by"] == "attention F1, regions as queries"


def test_without_truth_pairs_are_sorted_by_score_and_the_page_says_so(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "micro")
    run = train_or_load(
        dataset, "scan-t2i-mean", root=tmp_path, overrides=SMALL, device="cpu", progress=False
    )
    made = SplitAttention({"SCAN": run}, load_dataset(dataset).test)
    ranked = attention_atlas.ranking(made.table, attention_atlas.draw(made.split, 10, 0))
    assert ranked.attrs["by"] == "score"
    places = zip(ranked["image"], ranked["caption"], strict=True)
    scores = [made.table["score"][5 * i + c] for i, c in places]
    assert scores == sorted(scores, reverse=True)
    every = made.table["score"].to_numpy()
    np.testing.assert_allclose(ranked["SCAN"], [(every < score).mean() for score in scores])
    assert list(attention_atlas.measures(made.records(0, 0))) == ["method", "queries", "score"]


def test_a_draw_without_values_has_no_best() -> None:
    nothing = pd.concat([rows(SCAN=[np.nan, 0.5])])
    ranked = attention_atlas.ranking(nothing, [(0, 0)])
    with pytest.raises(InputError, match="no pair to choose"):
        attention_atlas.picks(ranked)


def test_a_pair_is_in_one_group_of_the_menu() -> None:
    ranked = attention_atlas.ranking(
        rows(SCAN=[k / 10 for k in range(9, -1, -1)]), [(0, k) for k in range(10)]
    )
    picked = attention_atlas.picks(ranked, 3)
    assert [[c for _, c in places] for places in picked.values()] == [
        [0, 1, 2],
        [4, 5, 6],
        [7, 8, 9],
    ]
    few = attention_atlas.picks(ranked.head(4), 3)
    assert [[c for _, c in places] for places in few.values()] == [[0], [2], [3]]
    alone = attention_atlas.picks(ranked.head(1), 3)
    assert alone == {"best": [(0, 0)], "middle": [], "worst": []}
    assert attention_atlas.one_of(alone, "worst") == (0, 0)
    groups = attention_atlas.grouped([(0, 0), (5, 1)], picked)
    assert groups[(0, 0)] == "drawn: best"  # the rule counts, not the hand
    assert list(groups.values()).count("set by hand") == 1
    assert len(groups) == 10


def test_the_summary_counts_pairs_in_which_everything_was_missed() -> None:
    summary = attention_atlas.summary(rows(SCAN=[0.0, 0.0, 0.5, 1.0, np.nan]))
    (row,) = summary.to_dict("records")
    assert (row["pairs"], row["F1 of zero"], row["mean F1"]) == ("4", 50.0, 37.5)
    assert row["median"] == 25.0


def test_the_measures_of_a_pair_are_a_table_of_every_method(made: SplitAttention) -> None:
    table = attention_atlas.measures(made.records(scenes_pair.IMAGE, scenes_pair.CAPTION))
    assert table["queries"].tolist() == ["words", "regions"]
    assert set(table["method"]) == set(METHODS)


def test_the_atlas_shows_what_a_build_has_trained_anyway() -> None:
    grid = grids.load("atlas")
    assert set(grid.fresh) == set(grid.rows)
    for preset in PRESETS.values():
        trained = {cell.spec for cell in building.fresh_cells(preset)}
        assert {cell.spec for cell in grid.cells(preset.size, seeds=SEEDS)} <= trained
