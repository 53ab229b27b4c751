"""Recipes: what they hold, how they are changed, what is refused."""

from __future__ import annotations

import json

import pytest

from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.experiments.methods import PLUGINS, PROFILES


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
        assert (r.training.epochs, r.training.lr_decay_epochs) == (epochs, drop)
        assert (r.training.learning_rate, r.training.batch) == (rate, 128)
        assert (r.encoder.embedding, r.encoder.word_width, r.loss.margin) == (1024, 300, 0.2)
        assert r.loss.hardest
        assert r.loss.warmup_epochs == 0


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny BERT without weights."""
    folder = tmp_path_factory.mktemp("bert")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = {"model_type": "bert", "intermediate_size": 8, "vocab_size": 9, **sizes}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    return str(folder)


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_survives_json_and_builds(name: str, bert: str) -> None:
    recipe = recipes.get(name)
    assert recipes.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    small = recipe.changed({"encoder": {"embedding": 8, "word_width": 3, "bert": bert}})
    positions = 30 if recipe.encoder.positions != "none" else 0
    assert sum(p.numel() for p in small.build(5 + positions, 7, 4).parameters()) > 0


# paper or release: lambda_1, epochs, lr_decay_epochs, rate, batch, margin, warm-up
PUBLISHED = {
    "scan-t2i-mean-f30k": (9.0, 30, 15, 2e-4, 128, 0.2, 0),
    "scan-i2t-mean-f30k": (4.0, 30, 15, 2e-4, 128, 0.2, 0),
    "scan-t2i-mean-coco": (9.0, 20, 10, 5e-4, 128, 0.2, 0),
    "scan-i2t-mean-coco": (4.0, 20, 10, 5e-4, 128, 0.2, 0),
    "bfan-prob-f30k": (20.0, 15, 15, 2e-4, 128, 0.2, 0),
    "bfan-equal-coco": (20.0, 20, 15, 5e-4, 128, 0.2, 0),
    "bfan-equal-f30k": (20.0, 15, 15, 2e-4, 128, 0.2, 0),
    "bfan-prob-coco": (20.0, 20, 15, 5e-4, 128, 0.2, 0),
    "pfan-t2i-f30k": (9.0, 30, 15, 2e-4, 128, 0.2, 0),
    "pfan-i2t-coco": (4.0, 30, 15, 5e-4, 128, 0.2, 0),
    "pfan-i2t-f30k": (4.0, 30, 15, 2e-4, 128, 0.2, 0),
    "pfan-t2i-coco": (9.0, 30, 15, 5e-4, 128, 0.2, 0),
    "saf-f30k": (9.0, 30, 20, 2e-4, 128, 0.2, 0),
    "saf-coco": (9.0, 20, 10, 2e-4, 128, 0.2, 0),
    "sgr-f30k": (9.0, 40, 30, 2e-4, 128, 0.2, 0),
    "sgr-coco": (9.0, 20, 10, 2e-4, 128, 0.2, 0),
    "chan-f30k": (None, 25, 15, 5e-4, 384, 0.05, 1),
    "chan-coco": (None, 25, 15, 5e-4, 384, 0.05, 1),
    "chan-bert-f30k": (None, 25, 15, 5e-4, 128, 0.05, 1),
    "chan-bert-coco": (None, 25, 15, 5e-4, 128, 0.05, 1),
    "rcr-t2i-f30k": (10.0, 40, 30, 5e-4, 128, 0.2, 3),
    "rcr-t2i-coco": (10.0, 25, 15, 5e-4, 128, 0.2, 5),
    "rcr-i2t-f30k": (3.0, 40, 30, 5e-4, 128, 0.2, 3),
    "rcr-i2t-coco": (3.0, 25, 15, 5e-4, 128, 0.2, 5),
    "rcar-t2i-f30k": (10.0, 40, 30, 5e-4, 128, 0.2, 3),
    "rcar-i2t-coco": (3.0, 25, 15, 5e-4, 128, 0.2, 5),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_setting_is_the_papers(name: str) -> None:
    r = recipes.get(name)
    t = r.training
    found = (
        t.epochs,
        t.lr_decay_epochs,
        t.learning_rate,
        t.batch,
        r.loss.margin,
        r.loss.warmup_epochs,
    )
    soft = r.matcher.attention == "soft"  # a hard choice has no temperature
    temperature = r.matcher.attention_temperature if soft else None
    assert (temperature, *found) == PUBLISHED[name]
    assert (r.loss.kind, r.loss.hardest, t.grad_clip, t.dev_images) == ("hinge", True, 2.0, 1000)
    assert (r.encoder.embedding, r.encoder.gru_layers) == (1024, 1)


def test_what_the_papers_fill_in() -> None:
    rcr, rar = recipes.get("rcr-i2t-f30k"), recipes.get("rar-t2i-f30k")
    assert (rcr.regulator.steps, rcr.matcher.attention_temperature) == (3, 3.0)
    assert (rar.regulator.steps, rar.matcher.attention_temperature) == (3, 10.0)
    assert (rcr.regulator.width, rcr.encoder.region_encoder, rcr.encoder.word_dropout) == (
        256,
        "mlp",
        0.4,
    )
    assert (rcr.training.optimiser, rcr.training.weight_decay) == ("adamw", 0.01)
    assert (rcr.training.token_dropout, rcr.training.keep_special_tokens) == (0.2, True)
    chan, bert = recipes.get("chan-f30k"), recipes.get("chan-bert-f30k")
    assert (chan.matcher.attention, chan.matcher.aggregation) == ("hard", "LSE")
    assert (chan.matcher.lse_temperature, chan.matcher.lse_scaled) == (10.0, False)
    assert (chan.encoder.region_encoder, bert.encoder.region_encoder) == (
        "self_attention",
        "linear",
    )
    assert (bert.matcher.aggregation, bert.training.bert_learning_rate) == ("mean", 5e-5)
    assert (bert.training.optimiser, bert.training.weight_decay) == ("adamw", 1e-4)
    on_photographs = recipes.get("chan-bert-f8k").training
    assert (on_photographs.bert_learning_rate, on_photographs.weight_decay) == (5e-5, 1e-4)
    assert (chan.training.region_dropout, chan.training.keep_special_tokens) == (0.2, False)
    bfan, saf = recipes.get("bfan-prob-f30k"), recipes.get("saf-f30k")
    assert (bfan.matcher.direction, bfan.matcher.attention_temperature) == ("both", 20.0)
    assert (saf.matcher.aggregation, saf.encoder.word_dropout) == ("SAF", 0.4)


def test_on_scenes_every_method_trains_alike() -> None:
    every = [recipes.get(name) for name in recipes.names() if name.endswith("-smoke")]
    budgets = [(vars(recipe.training), recipe.loss.warmup_epochs) for recipe in every]
    assert all(budget == budgets[0] for budget in budgets)


@pytest.mark.parametrize(
    ("name", "regulator", "ccr", "ccs"),
    [
        ("scan-t2i-mean+rcr", "rcr", 0, 0),
        ("bfan-prob+rcar+ccs-smoke", "rcar", 0, 1),
        ("saf+ccr+ccs-f30k", "none", 1, 1),
    ],
)
def test_plug_ins_are_part_of_the_name(name: str, regulator: str, ccr: float, ccs: float) -> None:
    r = recipes.get(name)
    assert (r.name, r.regulator.kind, r.constraints.ccr, r.constraints.ccs) == (
        name,
        regulator,
        ccr,
        ccs,
    )


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("vse-gpo+rcr", (), "one vector per image and caption"),
        ("chan+rcr", (), "no gradient"),
        ("chan+ccr", (), "no gradient"),
        ("rcr-t2i+rar", (), "rcar for RCR and RAR together"),
        ("scan-t2i-mean+turbo", (), "one of rcr"),
        ("scan-t2i-mean", ("matcher.aggregation=SAF",), "self_attention"),
        ("imram-text", ("matcher.aggregation=SGR",), "an aggregation of cosines"),
        ("vse-mean", ("encoder.text_pooling=none",), "a pooling for both"),
        ("chan", ("matcher.gate=prob",), "need soft attention"),
        ("chan", ("encoder.embedding=12",), "multiple of 8"),
        ("scan-t2i-mean", ("training.weight_decay=0.1",), "adamw"),
        ("chan+ccs", (), "no gradient"),
        ("vse-mean+ccr", (), "one vector per image and caption"),
        ("vse-mean", ("encoder.image_pooling=none",), "a pooling for both"),
        ("pfan-t2i", ("matcher.attention=hard",), "need soft attention"),
        ("saf", ("encoder.text_pooling=none",), "self_attention"),
        ("imram-full+rcr", (), "one regulator at a time"),
        ("chan", ("regulator.kind=memory",), "corrects soft attention"),
    ],
)
def test_an_impossible_combination_says_why(
    name: str, changes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        recipes.get(name).replace(*changes)


def test_a_plug_in_changes_nothing_else() -> None:
    for profile in PROFILES:
        for method in ("scan-i2t-LSE", "scan-t2i-mean", "bfan-prob", "pfan-i2t", "saf", "sgr"):
            host = recipes.get(f"{method}-{profile}")
            for plugin in PLUGINS:
                plugged = recipes.get(f"{method}+{plugin}-{profile}")
                for part in ("encoder", "matcher", "loss", "training"):
                    assert getattr(plugged, part) == getattr(host, part), (plugged.name, part)


def test_rar_goes_on_hard_attention() -> None:
    assert recipes.get("chan+rar").build(5, 7).forms_vectors


def test_changes_that_fit_only_together_come_in_any_order() -> None:
    changes = ("matcher.attention=hard", "matcher.gate=none")
    for order in (changes, changes[::-1]):
        assert recipes.get("bfan-prob").replace(*order).matcher.attention == "hard"


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
    ("change", "message"),
    [
        ("training.epoch=3", "one of epochs"),
        ("epochs=3", "PART.KEY=VALUE"),
        ("training.epochs", "PART.KEY=VALUE"),
        ("training.epochs=many", "expected a valid integer"),
        ("training.epochs=0", "greater than or equal to 1"),
        ("loss.hardest=perhaps", "expected a valid boolean"),
        ("matcher.aggregation=median", "one of mean"),
        ("training.learning_rate=nan", "expected a finite number"),
    ],
)
def test_a_wrong_change_says_what_would_be_right(change: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SCAN-t2i-mean", "scan-t2i-mean"),
        ("scan-t2i-lse", "scan-t2i-LSE"),
        ("recipes/rcar.yml", "rcar-t2i"),
        ("scan-t2i-mean.json", "scan-t2i-mean"),
        ("runs\\SCAN t2i mean-F30K.YAML", "scan-t2i-mean-f30k"),
        ("scan_t2i_mean_smoke", "scan-t2i-mean-smoke"),
        ("SCAN-t2i-mean+rcar", "scan-t2i-mean"),
    ],
)
def test_a_name_with_a_folder_an_ending_or_a_case_has_the_right_one_suggested(
    name: str, meant: str
) -> None:
    with pytest.raises(
        InputError, match=f"unknown recipe; expected for example {meant}(,|;|$)"
    ) as e:
        recipes.get(name)
    assert e.value.found == name


def test_a_plugin_with_a_case_has_the_right_one_suggested() -> None:
    with pytest.raises(InputError, match=r"unknown plug-in; .*Remedy: did you mean rcar\?"):
        recipes.get("scan-t2i-mean+RCAR")
