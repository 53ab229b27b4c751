"""Recipes: what they hold, how they are changed, what is refused."""

from __future__ import annotations

import json

import pytest

from itm_core import recipes
from itm_core.errors import InputError


def test_published_settings_of_scan() -> None:
    """The table of the SCAN README: lambda_1, lambda_2, epochs, drop, rate, batch."""
    expected = {
        "scan-t2i-LSE-f30k": (9, 6, 30, 15, 2e-4),
        "scan-i2t-LSE-f30k": (4, 5, 30, 15, 2e-4),
        "scan-t2i-LSE-coco": (9, 6, 20, 10, 5e-4),
        "scan-i2t-LSE-coco": (4, 20, 20, 10, 5e-4),
    }
    for name, (attention, lse, epochs, drop, rate) in expected.items():
        r = recipes.get(name)
        assert (r.matcher.attention_temperature, r.matcher.lse_temperature) == (attention, lse)
        assert (r.training.epochs, r.training.drop_every) == (epochs, drop)
        assert (r.training.learning_rate, r.training.batch) == (rate, 128)
        assert (r.encoder.embedding, r.encoder.word_width, r.loss.margin) == (1024, 300, 0.2)
        assert r.loss.hardest
        assert r.loss.warmup_epochs == 0


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_survives_json_and_builds(name: str) -> None:
    recipe = recipes.get(name)
    assert recipes.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    small = recipe.replace("encoder.embedding=4", "encoder.word_width=3")
    assert sum(p.numel() for p in small.build(5, 7).parameters()) > 0


def test_replacing_reads_each_type() -> None:
    changed = recipes.get("scan-t2i-mean").replace(
        "training.epochs=2",
        "loss.hardest=false",
        "matcher.aggregation=max",
        "training.dev_images=none",
        "training.learning_rate=1e-3",
    )
    assert (changed.training.epochs, changed.loss.hardest) == (2, False)
    assert (changed.matcher.aggregation, changed.training.dev_images) == ("max", None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("training.epoch=3", "one of epochs"),
        ("epochs=3", "PART.KEY=VALUE"),
        ("training.epochs", "PART.KEY=VALUE"),
        ("training.epochs=many", "expected int"),
        ("training.epochs=0", "1 or more"),
        ("loss.hardest=perhaps", "expected bool"),
        ("matcher.aggregation=median", "one of mean"),
        ("training.learning_rate=nan", "above zero"),
    ],
)
def test_a_wrong_change_says_what_would_be_right(change: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        recipes.get("scan-t2i-mean").replace(change)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(InputError, match="scan-t2i-mean"):
        recipes.get("scan-t2i-meen")


def test_unknown_keys_in_a_stored_recipe_are_refused() -> None:
    content = recipes.get("scan-t2i-mean").to_dict()
    with pytest.raises(InputError, match="unknown"):
        recipes.from_dict(content | {"colour": "red"})
    content["loss"]["colour"] = "red"
    with pytest.raises(InputError, match="colour"):
        recipes.from_dict(content)
