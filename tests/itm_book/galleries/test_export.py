"""Embeddings and scores of a gallery in files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from itm_book.galleries.indexing import index_photographs
from itm_book.galleries.photograph_gallery import PhotographGallery
from itm_core.cli import main
from itm_core.experiments.run import Run
from itm_core.experiments.runs import train_or_load
from tests.micro import SMALL, write_dataset
from tests.painted import COLOURS

SENTENCES = ["a red dog", "a green ball"]


@pytest.fixture
def gallery(photos: Path, tmp_path: Path, matcher: Run) -> PhotographGallery:
    (tmp_path / "sentences.txt").write_text("\n".join(["", *SENTENCES, "  "]))
    return index_photographs(photos, tmp_path / "made", matcher).gallery


def export(gallery: PhotographGallery, *words: str) -> int:
    options = ["--matcher", str(gallery.run.folder)]
    return main(["gallery", "export", str(gallery.folder), *words, *options])


def test_an_npz_has_regions_that_give_the_scores(
    gallery: PhotographGallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pd, "DataFrame", None)  # a table takes an object for each row
    assert export(gallery, str(tmp_path / "regions.npz")) == 0
    with_mark = tmp_path / "sentences.txt"
    with_mark.write_text("\n".join(SENTENCES), encoding="utf-8-sig")
    sentences = ["--sentences", str(with_mark)]
    assert export(gallery, str(tmp_path / "scores.npz"), *sentences) == 0
    with np.load(tmp_path / "scores.npz") as scores, np.load(tmp_path / "regions.npz") as regions:
        assert scores["files"].tolist() == sorted(f"{colour}.png" for colour in COLOURS)
        assert scores["sentences"].tolist() == SENTENCES
        np.testing.assert_array_equal(scores["scores"], gallery.scores(SENTENCES))
        assert scores["files"][scores["scores"][:, 0].argmax()] == "red.png"
        assert regions["embeddings"].shape == (6, 36, 8)
        assert regions["boxes"].shape == (6, 36, 4)
        # this matcher's regions have unit length
        np.testing.assert_allclose(np.linalg.norm(regions["embeddings"], axis=-1), 1, atol=1e-5)
        np.testing.assert_array_equal(regions["files"], scores["files"])


def test_a_parquet_has_a_row_for_each_region_or_pair(
    gallery: PhotographGallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: list[pd.DataFrame] = []

    def written(table: pd.DataFrame, path: Path, **options: Any) -> None:
        tables.append(table)

    monkeypatch.setattr(pd.DataFrame, "to_parquet", written)
    sentences = ["--sentences", str(tmp_path / "sentences.txt")]
    assert export(gallery, str(tmp_path / "scores.parquet"), *sentences) == 0
    assert export(gallery, str(tmp_path / "regions.parquet")) == 0
    scores, regions = tables
    table = scores.pivot(index="file", columns="sentence", values="score")[SENTENCES]
    np.testing.assert_array_equal(table.to_numpy(), gallery.scores(SENTENCES))
    assert list(regions.columns) == ["file", "region", "x1", "y1", "x2", "y2", "embedding"]
    row = regions[(regions["file"] == "red.png") & (regions["region"] == 5)].iloc[0]
    place = [names[0] for names in gallery.names].index("red.png")
    np.testing.assert_array_equal(row["embedding"], gallery.embeddings()[place, 5])
    np.testing.assert_array_equal(
        row[["x1", "y1", "x2", "y2"]].to_numpy(float), gallery.boxes()[place, 5]
    )


def test_without_pyarrow_the_command_that_installs_it_is_named(
    gallery: PhotographGallery,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def missing(table: pd.DataFrame, path: Path, **options: Any) -> None:
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", missing)
    (tmp_path / "none.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes("rote Bälle".encode("latin-1"))
    for words, told in (
        (["x.parquet"], "pip install pyarrow, or name a file that ends in .npz"),
        (["x.csv"], "expected .npz or .parquet, found .csv"),
        (["x.npz", "--sentences", str(tmp_path / "none.txt")], "no sentences"),
        (["x.npz", "--sentences", str(tmp_path / "latin.txt")], "expected UTF-8"),
        (["x.npz", "--sentences", str(tmp_path / "nowhere.txt")], "file not found"),
    ):
        assert export(gallery, str(tmp_path / words[0]), *words[1:]) == 2
        assert told in capsys.readouterr().err
        assert not (tmp_path / words[0]).exists()


def test_images_with_fewer_regions_are_exported_with_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lens = np.array([2, 1, 3, 3, 1, 2, 3, 1, 2, 3, 1, 2])  # of 4: no image of this split has all
    dataset, tables = write_dataset(tmp_path / "ragged"), []
    for split in ("train", "dev", "test"):
        values = np.load(dataset / f"{split}_ims.npy")
        values[np.arange(4) >= lens[:, None]] = 0
        np.save(dataset / f"{split}_ims.npy", values)
        np.save(dataset / f"{split}_region_lens.npy", lens)
    boxes = np.tile(np.float32([0, 0, 9, 9]), (12, 4, 1))
    boxes[np.arange(4) >= lens[:, None]] = 0
    np.save(dataset / "test_boxes.npy", boxes)
    options = {"device": "cpu", "root": tmp_path / "runs", "progress": False}
    run = train_or_load(dataset, "scan-t2i-mean", overrides=SMALL, **options)
    assert main(["index", str(dataset), str(tmp_path / "made"), "--run", str(run.folder)]) == 0
    monkeypatch.setattr(pd.DataFrame, "to_parquet", lambda table, *_, **__: tables.append(table))
    for name in ("regions.npz", "regions.parquet"):
        assert main(["gallery", "export", str(tmp_path / "made"), str(tmp_path / name)]) == 0
    with np.load(tmp_path / "regions.npz") as regions:
        assert regions["region_lens"].tolist() == lens.tolist()
        assert regions["embeddings"].shape == (12, 4, 8)
        assert (np.abs(regions["embeddings"]).sum(-1) > 0).sum(1).tolist() == lens.tolist()
        np.testing.assert_array_equal(regions["boxes"], boxes)
    assert tables[0].groupby("file", sort=False).size().tolist() == lens.tolist()
