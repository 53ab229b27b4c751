"""A matcher of colours with a folder of its own, and photographs that are easy to describe."""

from __future__ import annotations

from pathlib import Path

import pytest

from itm_book.checkpoints import shipped_matchers
from itm_book.checkpoints.shipping import ship
from itm_core.experiments.run import Run
from tests.painted import painted_dataset, painted_folder, painted_run


@pytest.fixture(scope="session")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A shipped matcher on the features of the colour backbone, which needs no weights."""
    place = tmp_path_factory.mktemp("colours")
    data = painted_dataset(place)
    run = painted_run(data, place / "runs")
    ship(run, "colours", data, terms="Free.", home=place / "models", progress=False)
    return shipped_matchers.load("colours", place / "models")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a photograph of every colour."""
    return painted_folder(tmp_path / "photos")
