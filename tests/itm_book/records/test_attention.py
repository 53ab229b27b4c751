"""The record of attention: what is written is read again, and annotations never mix."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itm_book.records import attention, grids
from itm_book.records.attention import UNIFORM
from itm_book.records.grids import Size
from itm_core.data.dataset import load_split
from itm_core.errors import InputError
from tests.attention_lines import GRID, LEVEL, SEEDS, lines_of, write_record
from tests.itm_core.evaluation.test_attention_queries import write_annotated


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3720), st.integers(0, 60)), min_size=1))
def test_images_are_read_as_they_were_written(images: list[tuple[int, int]]) -> None:
    counts, sixtieths = np.array(images).T
    text = attention.encoded_counts(counts)
    np.testing.assert_array_equal(attention.counts_of(text), counts)
    means = attention.encoded_means(sixtieths / 60, counts)
    expected = np.where(counts > 0, sixtieths / 60, 0)
    np.testing.assert_allclose(attention.means_of(means, counts), expected)


def test_means_of_other_images_are_refused() -> None:
    with pytest.raises(InputError, match="of different images"):
        attention.means_of("aaa", np.array([1, 0, 2]))


@pytest.mark.parametrize("file", ["test_words.json", "test_objects.json", "test_boxes.npy"])
def test_the_truth_depends_on_words_objects_and_boxes(file: str, tmp_path: Path) -> None:
    write_annotated(tmp_path)
    before = attention.truth_of(load_split(tmp_path, "test"))
    assert before == attention.truth_of(load_split(tmp_path, "test"))
    if file.endswith("npy"):
        np.save(tmp_path / file, np.load(tmp_path / file) + 1)
    else:
        (tmp_path / file).write_text((tmp_path / file).read_text().replace("]", "] ", 1))
    assert attention.truth_of(load_split(tmp_path, "test")) != before


def test_the_truth_is_that_of_boxes_from_another_processor(tmp_path: Path) -> None:
    """Last digits differ, and of two equally likely boxes the other one may come first."""
    write_annotated(tmp_path)
    before = attention.truth_of(load_split(tmp_path, "test"))
    boxes = np.load(tmp_path / "test_boxes.npy")
    boxes[0, [0, 1]] = boxes[0, [1, 0]]
    np.save(tmp_path / "test_boxes.npy", boxes * np.float32(1 + 1e-7))
    assert attention.truth_of(load_split(tmp_path, "test")) == before


def test_a_truth_may_name_nothing(tmp_path: Path) -> None:
    write_annotated(tmp_path)
    words = [[None for _ in caption] for caption in load_split(tmp_path, "test").words() or []]
    (tmp_path / "test_words.json").write_text(json.dumps(words))
    assert len(attention.truth_of(load_split(tmp_path, "test"))) == 16


def test_the_order_of_export_does_not_matter(tmp_path: Path) -> None:
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    write_record(one)
    for seed in reversed(SEEDS):
        for recipe in sorted(LEVEL):
            attention.export(lines_of(recipe, seed), other)
    assert one.read_bytes() == other.read_bytes()
    attention.export(lines_of("chan", 1), one)
    assert one.read_bytes() == other.read_bytes()


def test_lines_get_the_names_of_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "attention.csv"
    write_record(path)
    lines = attention.recorded(GRID, "tiny", path=path)
    assert list(dict.fromkeys(lines["name"])) == [UNIFORM, "CHAN", "SCAN", "RCAR"]
    by_name = lines.drop_duplicates("name").set_index("name")
    assert by_name.loc["RCAR", ["host", "group"]].tolist() == ["SCAN", "regulators"]
    assert lines[lines["name"] == "SCAN"]["seed"].unique().tolist() == list(SEEDS)
    fewer = Size(dataset="photographs", profile="scenes", seeds=(0,))
    some = attention.recorded(GRID, fewer, path=path)
    assert set(some["seed"]) == {0}


def test_annotations_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "attention.csv"
    write_record(path)
    new = [line | {"truth": "f" * 16} for line in lines_of("chan", 0)]
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"on another annotation.*: {len(LEVEL) * len(SEEDS) - 1}"):
        attention.export(new, path)
    assert path.read_bytes() == before
    every = [(recipe, "", seed) for recipe in LEVEL for seed in SEEDS]
    attention.export(new, path, again=every)  # interrupted after the first
    with pytest.raises(InputError, match="different annotations") as caught:
        attention.recorded(GRID, "tiny", path=path)
    assert "ffffffffffffffff" in str(caught.value)
    for recipe in LEVEL:
        for seed in SEEDS:
            new = [line | {"truth": "f" * 16} for line in lines_of(recipe, seed)]
            attention.export(new, path, again=every)
    assert set(attention.recorded(GRID, "tiny", path=path)["truth"]) == {"f" * 16}


def test_without_lines_the_command_is_named(tmp_path: Path) -> None:
    path = tmp_path / "attention.csv"
    with pytest.raises(InputError, match="no attention of grid small") as caught:
        attention.recorded(GRID, "tiny", path=path)
    assert "itm results attention small" in str(caught.value)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="wrong columns"):
        attention.read(path)


def test_a_run_is_measured_when_run_commit_and_truth_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "attention.csv"
    attention.export(lines_of("chan", 2), path)
    assert attention.measured_runs(path) == {
        ("photographs/chan/2-abc", "c0082a58b567", "0123456789abcdef")
    }


def test_the_rows_of_a_group_are_next_to_each_other() -> None:
    groups = list(attention.recorded(grids.load("flickr8k"), "record")["group"])
    changes = [group for k, group in enumerate(groups) if k == 0 or groups[k - 1] != group]
    assert len(changes) == len(set(changes))
