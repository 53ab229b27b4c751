"""The benchmark of the search: small, from its data to its tables, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itm_book.bench import search
from itm_book.search import search_curve
from itm_core.cli import main
from tests.micro import write_dataset


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed: str) -> list[str]:
    """The command of a small measurement, whose record is in the present folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search, "current_commit", lambda: committed)
    for name, value in {"SIZES": (20, 40), "COUNTS": (10,), "HALF": 20}.items():
        monkeypatch.setattr(search, name, value)
    for name in ("CURVE", "KINDS"):
        monkeypatch.setattr(search_curve, name, tmp_path / f"{name}.csv")
    write_dataset(tmp_path / "data/scenes-small")
    features = np.random.default_rng(0).normal(size=(20, 4, 11)).astype(np.float32)
    for name, values in (("ims", features), ("boxes", np.abs(features[..., :4]))):
        path = tmp_path / f"data/search/pictures-20-{name}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, values)
    return ["bench", "search", "--images", "40", "--queries", "3", "--pictures", "20"]


def test_only_what_is_asked_for_is_recorded(measured: list[str], tmp_path: Path) -> None:
    assert main(measured) == 0
    assert not list(tmp_path.glob("*.csv"))
    assert main([*measured, "--record"]) == 0
    assert set(search_curve.recorded(search_curve.CURVE)["gallery"]) == {20, 40}
    assert set(search_curve.recorded(search_curve.KINDS)["gallery"]) == {20, 40}


@pytest.mark.parametrize("name", ["images", "pictures"])
def test_too_few_images_are_refused_before_anything_is_made(
    name: str, measured: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*measured, f"--{name}", "19", "--folder", "other"]) == 2
    assert f"too few {name}; expected 20 or more, found --{name} 19" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
