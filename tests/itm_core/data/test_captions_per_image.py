"""Datasets with one, two or seven captions an image: validated, trained, scored, explained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itm_book.pairs.pair_records import pair_record
from itm_core.cli import main
from itm_core.data.dataset import load_dataset, load_split
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.experiments import runs
from tests.micro import SMALL, write_dataset


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_number_of_captions_is_read_off_the_files(tmp_path: Path, count: int) -> None:
    data = load_dataset(write_dataset(tmp_path, captions=count))
    for split in (data.train, data.dev, data.test):
        assert split.captions_per_image == count
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
    assert retrieval.captions_per_image(run.scores) == count
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
