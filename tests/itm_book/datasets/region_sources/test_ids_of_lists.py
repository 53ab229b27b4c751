"""The ids of lists and of JSON lines, for features that are named after them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from itm_book.datasets.region_sources.second_keys import ids_of_records


@pytest.mark.parametrize("name", ["list.json", "a.jsonl", "lines.json"])
def test_ids_are_of_images_not_of_captions(tmp_path: Path, name: str) -> None:
    images = [("abc.jpg", 7), ("abc.jpg", 7), ("def.jpg", 8)]
    rows = [{"image_path": i, "image_id": n, "id": k} for k, (i, n) in enumerate(images)]
    path = tmp_path / name
    lines = "\n".join(map(json.dumps, rows))
    path.write_text(json.dumps(rows) if name == "list.json" else lines)
    assert ids_of_records(path) == {"image_id": {"abc": "7", "def": "8"}}


def test_an_id_that_is_no_name_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"image": "a.jpg", "id": None, "imgid": [1]}]))
    assert ids_of_records(path) == {}
