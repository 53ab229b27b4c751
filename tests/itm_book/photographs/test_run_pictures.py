"""A folder of photographs as a run scores it: features, captions, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from itm_book.checkpoints import shipped_matchers
from itm_book.checkpoints.shipping import ship
from itm_book.photographs.backbones import Colour
from itm_book.photographs.opening import open_dataset, open_photographs
from itm_book.photographs.run_pictures import backbone_of, captioned, pictures_for
from itm_book.regions.region_boxes import layout
from itm_core.data.dataset import Dataset
from itm_core.errors import InputError
from itm_core.experiments.run import Run
from itm_core.json_files import write_json
from tests.painted import COLOURS, paint, painted_dataset, painted_folder, painted_run
from tests.places import PROJECT


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def data(place: Path) -> Dataset:
    return painted_dataset(place)


@pytest.fixture(scope="module")
def run(place: Path, data: Dataset) -> Run:
    return painted_run(data, place / "runs")


@pytest.fixture(scope="module")
def shipped(place: Path, data: Dataset, run: Run) -> Run:
    ship(run, "colours", data, terms="Free.", home=place / "models", progress=False)
    return shipped_matchers.load("colours", place / "models")


def write_captions(folder: Path, names: list[str]) -> Path:
    images = [
        {
            "filename": name,
            "split": "test",
            "sentences": [{"raw": f"a {name.split('.')[0]} {thing}"} for thing in ("dog", "ball")],
        }
        for name in names
    ]
    path = folder / "captions.json"
    path.write_text(json.dumps({"images": images}))
    return path


def test_a_shipped_matcher_says_what_its_features_are(shipped: Run, tmp_path: Path) -> None:
    folder = painted_folder(tmp_path / "mine")
    split = pictures_for(shipped, folder, tmp_path / "own", progress=False)
    assert split.ids == sorted(f"{colour}.png" for colour in COLOURS)
    assert split.boxes is not None
    np.testing.assert_array_equal(split.boxes[0], layout(40, 30))
    expected = Colour()(split.picture(0), layout(40, 30))  # type: ignore[arg-type]
    np.testing.assert_array_equal(split.regions[0], expected)
    (folder / "damaged.jpg").write_bytes(b"no picture")
    assert len(pictures_for(shipped, folder, tmp_path / "own", progress=False).ids) == 6


def test_features_made_otherwise_are_refused(shipped: Run, tmp_path: Path) -> None:
    folder = painted_folder(tmp_path / "mine")
    np.save(tmp_path / "other.npy", np.tile(layout(40, 30), (6, 1, 1)))
    other = Colour()
    other.identity = other.identity | {"version": 0}
    with pytest.raises(InputError, match="trained on other features"):
        pictures_for(shipped, folder, tmp_path / "own", backbone=other, progress=False)

    class Whole:
        """The whole picture, 36 times."""

        name = "whole"

        def __call__(self, split: str, k: int, name: str, picture: np.ndarray) -> np.ndarray:
            return np.tile(np.array([0, 0, *picture.shape[1::-1]], np.float32), (36, 1))

    with pytest.raises(InputError, match=r"boxes: grid.*found.*boxes: whole"):
        pictures_for(shipped, folder, tmp_path / "own", boxes=Whole(), progress=False)


def test_another_run_needs_its_backbone(run: Run, shipped: Run, tmp_path: Path) -> None:
    assert backbone_of(shipped).identity == Colour().identity
    assert backbone_of(run).identity == Colour().identity  # comes with the project
    other = Run(shutil.copytree(run.folder, tmp_path / "other"))
    write_json(other.folder / "config.json", run.config | {"features": {"backbone": "resnet"}})
    (other.folder / "files.json").unlink()  # which names the former configuration
    with pytest.raises(InputError, match="only a shipped matcher names its backbone.*resnet"):
        backbone_of(other)


def test_captions_belong_to_the_photograph_of_their_name(shipped: Run, tmp_path: Path) -> None:
    folder = painted_folder(tmp_path / "mine")
    split = pictures_for(shipped, folder, tmp_path / "own", progress=False)
    with_captions = captioned(split, write_captions(folder, split.ids[::-1]))
    assert set(with_captions.caption_counts.tolist()) == {2}
    for image, name in enumerate(split.ids):
        colour = name.removesuffix(".png")
        assert with_captions.captions[with_captions.place(image, 1)] == f"a {colour} ball"
    paint(folder / "more.png", "red")
    more = pictures_for(shipped, folder, tmp_path / "own", progress=False)
    with pytest.raises(InputError, match=r"without captions.*more\.png"):
        captioned(more, folder / "captions.json")


def test_pages_open_photographs_or_a_dataset(
    run: Run, shipped: Run, data: Dataset, place: Path, tmp_path: Path
) -> None:
    folder = painted_folder(tmp_path / "mine")
    options = {"matchers": [str(shipped.folder)], "progress": False}
    with pytest.raises(InputError, match="these photographs have no captions"):
        open_photographs(folder, tmp_path / "own", **options)  # type: ignore[arg-type]
    write_captions(folder, [f"{colour}.png" for colour in COLOURS])
    runs, split = open_photographs(folder, tmp_path / "own", **options)  # type: ignore[arg-type]
    assert list(runs) == ["colours"]
    assert len(split.captions) == 12
    trained, test = open_dataset(
        data.folder,
        {"mine": "scan-t2i-mean-smoke"},
        root=tmp_path / "runs",
        device="cpu",
        progress=False,
    )
    assert trained["mine"].recipe.name == "scan-t2i-mean-smoke"
    assert test.captions == data.test.captions


def test_the_ten_photographs_have_captions() -> None:
    folder = PROJECT / "data" / "pictures"
    images = json.loads((folder / "captions.json").read_text())["images"]
    assert [image["filename"] for image in images] == sorted(p.name for p in folder.glob("*.jpg"))
    assert {len(image["sentences"]) for image in images} == {5}
