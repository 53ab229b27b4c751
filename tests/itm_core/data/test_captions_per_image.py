"""Datasets with one, two, seven or different numbers of captions an image, from file to metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itm_book.pairs.pair_records import pair_record
from itm_book.records.results import Result
from itm_core.cli import main
from itm_core.data.dataset import load_dataset, load_split
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.experiments import runs
from itm_core.experiments.prepare import prepare
from tests.micro import SMALL, write_dataset


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_number_of_captions_is_read_off_the_files(tmp_path: Path, count: int) -> None:
    data = load_dataset(write_dataset(tmp_path, captions=count))
    for split in (data.train, data.dev, data.test):
        assert split.caption_counts.tolist() == 12 * [count]
        assert len(split.ids) == len(split.regions) == 12
        assert split.caption_image.tolist() == np.repeat(np.arange(12), count).tolist()
    path = tmp_path / "dev_ims.npy"
    once = np.load(path)
    np.save(path, once.repeat(count, axis=0))
    np.testing.assert_array_equal(load_split(tmp_path, "dev").regions, once)


@pytest.mark.parametrize("count", [1, 2])
def test_any_number_of_captions_is_trained_scored_and_shown(
    tmp_path: Path, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_dataset(tmp_path / "set", captions=count, images=40)
    assert main(["check", str(folder)]) == 0
    assert f"40 images, 4 regions of 11, {40 * count} captions" in capsys.readouterr().out
    run = runs.train_or_load(
        folder, "scan-t2i-mean", root=tmp_path / "runs", overrides=SMALL, device="cpu",
        progress=False,
    )  # fmt: skip
    assert run.scores.shape == (40, 40 * count)
    assert run.caption_image.tolist() == np.repeat(np.arange(40), count).tolist()
    assert not (run.folder / "test_caption_image.npy").exists()
    assert run.metrics["rsum"] == pytest.approx(retrieval.metrics(run.scores).rsum)
    split = load_split(folder, "test")
    last = split.place(39, count - 1)
    record = pair_record(run, split, 39, last)
    assert record.score == pytest.approx(run.scores[39, last], abs=1e-6)


def test_captions_that_cannot_be_divided_are_refused_with_counts(tmp_path: Path) -> None:
    write_dataset(tmp_path, captions=2)
    path = tmp_path / "test_caps.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(InputError, match=r"test_caps.txt: .*each of the 12 images.*found 23 capti"):
        load_dataset(tmp_path)


COUNTS = np.array([1, 3, 10, 2, 2, 1, 5, 4, 1, 2, 3, 1])  # of the twelve images of each split


def write_unequal(folder: Path, counted: bool) -> Path:
    """Write a dataset of ten captions an image, cut to `COUNTS`."""
    write_dataset(folder, captions=10)
    kept = np.concatenate([10 * image + np.arange(n) for image, n in enumerate(COUNTS)])
    for split in ("train", "dev", "test"):
        for ending in ("caps", "ids"):
            path = folder / f"{split}_{ending}.txt"
            lines = path.read_text().splitlines()
            path.write_text("".join(f"{lines[row]}\n" for row in kept))
        if counted:
            (folder / f"{split}_counts.txt").write_text("".join(f"{n}\n" for n in COUNTS))
            ids = dict.fromkeys((folder / f"{split}_ids.txt").read_text().split())
            (folder / f"{split}_ids.txt").write_text("".join(f"{name}\n" for name in ids))
    return folder


@pytest.mark.parametrize("counted", [True, False])
def test_different_numbers_are_read_of_counts_or_of_ids(tmp_path: Path, counted: bool) -> None:
    split = load_split(write_unequal(tmp_path, counted), "dev")
    assert split.caption_counts.tolist() == COUNTS.tolist()
    assert split.caption_image.tolist() == np.repeat(np.arange(12), COUNTS).tolist()
    assert split.ids == [str(1000 + image) for image in range(12)]
    assert split.caption_number[:6].tolist() == [0, 0, 1, 2, 0, 1]
    assert split.captions_of(2) == split.captions[4:14]
    assert split.place(3, 1) == 15
    with pytest.raises(InputError, match="no such caption; expected 0 to 0, found 1"):
        split.place(0, 1)
    assert [split.caption_total(k) for k in (1, 3, 99, None)] == [1, 14, 35, 35]


def test_the_same_captions_of_other_images_are_another_dataset(tmp_path: Path) -> None:
    folder = write_unequal(tmp_path, counted=True)
    before = load_dataset(folder).fingerprint
    (folder / "test_counts.txt").write_text("".join(f"{n}\n" for n in COUNTS[::-1]))
    assert load_dataset(folder).fingerprint != before


def test_equal_counts_change_nothing(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, captions=3)
    before = load_dataset(folder)
    (folder / "test_counts.txt").write_text(12 * "3\n")
    after = load_dataset(folder)
    assert after.fingerprint == before.fingerprint
    assert after.test.ids == before.test.ids


@pytest.mark.parametrize(
    ("ending", "lines", "message"),
    [
        ("counts", ["1"] * 11 + ["0"], r"test_counts.txt, row 12: not a number of captions"),
        ("counts", ["3"] * 12, r"counts and captions do not fit; .*35.*found 36"),
        (
            "counts",
            ["30", "5"],
            r"one row for each of 2 images, which have 5 to 30 .*found 12 rows",
        ),
    ],
)
def test_counts_that_do_not_fit_are_refused(
    tmp_path: Path, ending: str, lines: list[str], message: str
) -> None:
    folder = write_unequal(tmp_path, counted=True)
    (folder / f"test_{ending}.txt").write_text("\n".join(lines))
    with pytest.raises(InputError, match=message):
        load_split(folder, "test")


def test_ids_out_of_order_are_refused_with_their_row(tmp_path: Path) -> None:
    folder = write_unequal(tmp_path, counted=False)
    path = folder / "test_ids.txt"
    ids = path.read_text().split()
    ids.insert(19, ids.pop(0))  # between the captions of image 2006
    path.write_text("\n".join(ids))
    message = r"test_ids.txt, row 21: .*not in consecutive rows; found 2006 again.*order of the im"
    with pytest.raises(InputError, match=message):
        load_split(folder, "test")


@pytest.mark.parametrize("counts", [[1, 3], [2, 2]])
def test_counts_and_ids_that_say_different_things_are_refused(
    tmp_path: Path, counts: list[int]
) -> None:
    """Counts of an earlier dataset may have the right sum."""
    np.save(tmp_path / "test_ims.npy", np.eye(2, dtype=np.float32)[:, None])
    (tmp_path / "test_caps.txt").write_text("A .\nB .\nC .\nD .\n")
    (tmp_path / "test_ids.txt").write_text("a\nb\nb\nc\n")
    (tmp_path / "test_counts.txt").write_text("".join(f"{n}\n" for n in counts))
    with pytest.raises(InputError, match="test_ids.txt, row .*expected . as in row .*found"):
        load_split(tmp_path, "test")
    (tmp_path / "test_ids.txt").write_text("a\nb\nc\nd\n")  # numbers of captions
    assert load_split(tmp_path, "test").caption_counts.tolist() == counts


def test_rows_repeated_for_different_numbers_are_refused(tmp_path: Path) -> None:
    folder = write_unequal(tmp_path, counted=False)
    path = folder / "test_ims.npy"
    np.save(path, np.load(path).repeat(COUNTS, axis=0))
    with pytest.raises(InputError, match="each of 12 images.*found 35 rows.*keep the first row"):
        load_split(folder, "test")


def test_different_numbers_are_trained_scored_measured_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_unequal(tmp_path / "set", counted=True)
    assert main(["check", str(folder)]) == 0
    assert "35 captions, 1 to 10 an image" in capsys.readouterr().out
    limits = ("training.train_images=7", "training.dev_images=5")
    run = runs.train_or_load(
        folder, "scan-t2i-mean", root=tmp_path / "runs", overrides=(*SMALL, *limits),
        device="cpu", progress=False,
    )  # fmt: skip
    data = load_dataset(folder)
    assert run.scores.shape == (12, 35)
    assert run.caption_image.tolist() == data.test.caption_image.tolist()
    assert run.metrics["captions_per_image"] == [1, 10]
    expected = retrieval.metrics(run.scores, data.test.caption_image)
    assert run.metrics["rsum"] == pytest.approx(expected.rsum)
    pairs = prepare(data, run.recipe).training_pairs(7)
    assert pairs.image_of.max() == 6
    assert len(pairs.captions) == COUNTS[:7].sum()
    record = pair_record(run, data.test, 2, data.test.place(2, 9))
    assert record.score == pytest.approx(run.scores[2, 13], abs=1e-6)
    result = Result.of(run)
    again = Result.from_row(result.row())
    np.testing.assert_array_equal(again.hits, result.hits)
    assert again.hits.mean(0)[-1] == pytest.approx(expected.rsum)
