"""Settings without effect, and the one name of a recipe: the same training is the same run."""

from __future__ import annotations

from pathlib import Path

import pytest

from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.experiments.effects import NEEDS
from itm_core.experiments.runs import folder_of
from itm_core.regulators import RCR, REGULATORS

HOST = "scan-t2i-mean-smoke"


@pytest.mark.parametrize(
    ("recipe", "change", "need"),
    [
        (HOST, "regulator.steps=5", "a regulator"),
        ("scan-t2i-mean+rcr", "regulator.dropout=0.1", "regulator.kind=rar or rcar"),
        ("scan-t2i-mean+rar", "regulator.normalise_memory=true", "regulator.kind=memory"),
        (HOST, "constraints.ccr_margin=0.3", "constraints.ccr above 0"),
        ("scan-t2i-mean+ccr", "constraints.swap=hard", "constraints.ccs above 0"),
        ("scan-t2i-mean+ccr", "constraints.bottom_k=3", "constraints.negative=bottom_k"),
        (HOST, "constraints.from_epoch=1", "constraints.ccr above 0 or constraints.ccs above 0"),
        (HOST, "loss.temperature=0.5", "loss.kind=info_nce"),
        (HOST, "matcher.lse_temperature=2", "matcher.aggregation=LSE or softmax"),
        ("saf", "matcher.node_steps=2", "matcher.aggregation=SGR"),
        ("chan", "matcher.attention_temperature=2", "matcher.attention=soft"),
        ("saf", "matcher.alignment=dot", "matcher.aggregation=mean or LSE or max"),
        ("scan-t2i-mean+rar", "matcher.alignment=dot", "no regulator that pools"),
        ("scan-t2i-mean+rcar", "matcher.aggregation=max", "no regulator that pools"),
        ("scan-t2i-LSE+rar", "matcher.lse_temperature=2", "no regulator that pools"),
        ("scan-t2i-LSE+rcar", "matcher.lse_scaled=false", "no regulator that pools"),
        ("sgr+rar", "matcher.node_steps=2", "no regulator that pools"),
        (HOST, "encoder.bert=x", "encoder.text_encoder=bert"),
        (HOST, "training.bert_learning_rate=0.1", "encoder.text_encoder=bert"),
        ("chan-bert", "encoder.gru_layers=2", "encoder.text_encoder=gru"),
        (HOST, "training.keep_special_tokens=true", "training.token_dropout above 0"),
        (HOST, "encoder.mask_regions=true", "encoder.region_encoder=mlp or"),
    ],
)
def test_a_change_without_effect_is_refused(recipe: str, change: str, need: str) -> None:
    with pytest.raises(InputError) as refused:
        recipes.get(recipe).replace(change)
    assert f"{change.partition('=')[0]}=" in str(refused.value)
    assert f"has no effect; expected {need}" in str(refused.value)


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        (HOST, ["loss.kind=info_nce", "loss.temperature=0.5"]),
        (HOST, ["loss.temperature=0.5", "loss.kind=info_nce"]),
        (HOST, ["regulator.kind=rcr", "regulator.steps=5"]),
        ("chan", ["matcher.attention=soft", "matcher.attention_temperature=2"]),
        (HOST, ["regulator.steps=2"]),  # what it is: no change
        ("scan-t2i-mean+rcr", ["matcher.aggregation=max"]),
        ("scan-t2i-mean+rcar", ["regulator.steps=0", "matcher.aggregation=max"]),
        ("pfan-t2i+rar", ["matcher.max_attention_bonus=false"]),
    ],
)
def test_a_change_with_its_need_is_a_change(recipe: str, changes: list[str]) -> None:
    assert recipes.get(recipe).replace(*changes)


@pytest.mark.parametrize("change", ["matcher.width=8", "regulator.width=8"])
def test_a_width_without_effect_is_the_same_run(change: str) -> None:
    assert recipes.get(HOST).replace(change) == recipes.get(HOST)
    used = "saf" if change.startswith("matcher") else "rcr-t2i"
    assert recipes.get(used).replace(change) != recipes.get(used)


@pytest.mark.parametrize("host", ["saf", "sgr"])
def test_the_width_of_an_aggregation_that_a_regulator_replaces_is_the_same_run(host: str) -> None:
    pooled = recipes.get(f"{host}+rar-smoke")
    assert pooled.replace("matcher.width=8") == pooled
    corrected = recipes.get(f"{host}+rcr-smoke")  # RCR leaves the aggregation to the host
    assert corrected.replace("matcher.width=8") != corrected
    none = pooled.replace("regulator.kind=none", "matcher.width=8")
    assert none.matcher.width == 8


def test_a_regulator_of_the_user_may_read_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    own = type("Own", (RCR,), {"__module__": "elsewhere"})
    monkeypatch.setitem(REGULATORS, "own", own)
    recipe = recipes.get(HOST).replace("regulator.kind=own", "regulator.dropout=0.1")
    assert recipe.regulator.dropout == 0.1


def test_every_setting_with_a_need_exists() -> None:
    parts = recipes.get(HOST).parts
    assert {part for part, _, _ in (name.partition(".") for name in NEEDS)} == {*parts}
    for name in NEEDS:
        part, _, key = name.partition(".")
        assert hasattr(parts[part], key), name


def test_of_two_changes_of_a_setting_the_last_counts() -> None:
    changed = recipes.get(HOST).replace("training.epochs=2", "training.epochs=3")
    assert changed == recipes.get(HOST).replace("training.epochs=3")


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("scan-t2i-mean+ccs+ccr-smoke", "scan-t2i-mean+ccr+ccs-smoke"),
        ("saf+ccs+ccr+rcr", "saf+rcr+ccr+ccs"),
        ("bfan-prob-scenes", "bfan-prob"),
    ],
)
def test_every_spelling_of_a_recipe_is_the_same_run(name: str, canonical: str) -> None:
    config = {"seed": 0, "dataset": "micro"}
    one, other = (config | {"recipe": recipes.get(n).to_dict()} for n in (name, canonical))
    assert folder_of(one) == folder_of(other) == Path(folder_of(other))
    assert folder_of(one).parent.name == canonical


@pytest.mark.parametrize("name", ["scan-t2i-mean+ccr+ccr", "scan-t2i-mean+rcr+ccs+rcr-f30k"])
def test_a_plug_in_is_named_once(name: str) -> None:
    with pytest.raises(InputError, match="r is given twice; found .*. Remedy: name it once"):
        recipes.get(name)


@pytest.mark.parametrize(
    "change",
    [
        *("encoder.embedding=1000000000000", "encoder.word_width=65537", "encoder.gru_layers=65"),
        *("training.epochs=0", "training.epochs=1000000000", "training.batch=10000000"),
        *(f"training.learning_rate={x}" for x in ("nan", "inf", "-1", "0", "1e300")),
        *("encoder.word_dropout=1.0", "encoder.word_dropout=nan", "loss.margin=1e300"),
        *(f"matcher.attention_temperature={x}" for x in ("0", "nan", "-inf", "1e9")),
    ],
)
def test_values_that_nobody_can_mean_are_refused(change: str) -> None:
    with pytest.raises(InputError, match=f"wrong value of {change.partition('=')[0]}; expected"):
        recipes.get(HOST).replace(change)
