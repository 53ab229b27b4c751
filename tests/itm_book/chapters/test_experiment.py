"""The attention of one experiment, of a method that has some and of one that has none."""

from __future__ import annotations

from pathlib import Path

import pytest
from IPython.display import HTML
from matplotlib.figure import Figure

from itm_book.chapters import experiment
from tests import scenes_pair


@pytest.mark.parametrize(
    ("recipe", "shown"), [("scan-t2i-mean", Figure), ("vse-gpo", HTML), ("vse-mean", HTML)]
)
def test_every_method_has_a_map_or_a_sentence(
    scenes_folder: Path, recipe: str, shown: type[Figure | HTML]
) -> None:
    split, run = scenes_pair.scenes(scenes_folder), scenes_pair.trained(scenes_folder, recipe)
    attention = experiment.attention(run, split, scenes_pair.IMAGE, 0)
    assert isinstance(attention, shown)
    if isinstance(attention, HTML):
        assert run.recipe.name in attention.data
        assert "one vector of the picture" in attention.data
