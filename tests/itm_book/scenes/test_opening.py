from __future__ import annotations

from pathlib import Path

import pytest

from itm_book.scenes import opening
from itm_core.errors import InputError


def test_a_missing_preset_is_made_and_a_dataset_is_only_opened(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "scenes-tiny"
    made = opening.load_or_make(folder, progress=False)
    assert len(made.train.regions) == 120
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert opening.load_or_make(str(folder)).test.captions == made.test.captions
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_dataset_of_another_name_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Remedy"):
        opening.load_or_make(tmp_path / "flickr30k")
    assert not list(tmp_path.iterdir())
