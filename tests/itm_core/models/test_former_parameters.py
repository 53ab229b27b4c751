"""Former names of parameters and present ones are found from each other."""

from __future__ import annotations

import pytest

from itm_core.encoders.positions import POSITION_WIDTH
from itm_core.experiments import recipes
from itm_core.models.former_parameters import RENAMED, former_name, present_name

WIDTH = POSITION_WIDTH + 8
NAMES = [name for name in recipes.names() if name.endswith("-smoke") and "bert" not in name]
REGULATED = ["scan-t2i-mean+rar-smoke", "scan-i2t-LSE+rcar-smoke", "bfan-prob+rcr-smoke"]


@pytest.mark.parametrize("recipe", [*NAMES, *REGULATED])
def test_every_parameter_has_one_former_name_that_leads_back(recipe: str) -> None:
    names = list(recipes.get(recipe).build(WIDTH, 9, 4).state_dict())
    former = [former_name(name) for name in names]
    assert len(set(former)) == len(names)
    assert [present_name(name) for name in former] == names
    assert [former_name(name) for name in former] == former


def test_every_row_is_used_by_some_matcher() -> None:
    former = {
        former_name(name)
        for recipe in (*NAMES, *REGULATED)
        for name in recipes.get(recipe).build(WIDTH, 9, 4).state_dict()
    }
    stems = ("gazes.", ".whole.whole", ".whole.", ".positions.ask.", ".regulator.score.")
    stems += (".nodes.ask.", ".nodes.answer.")
    assert len(stems) == len(RENAMED) - 1  # vectors of nodes and of images are both "whole"
    assert [stem for stem in stems if not any(stem in name for name in former)] == []
