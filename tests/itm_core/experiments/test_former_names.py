"""Runs, weights and records that were made under former names of settings are still found."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import torch

from itm_book.records import results
from itm_core.encoders.encoder import EncoderSettings
from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.experiments.former_names import FORMER, with_former_names, with_present_names
from itm_core.experiments.runs import folder_of
from itm_core.training.settings import TrainingSettings

# folders of runs of the tiny sets, as they were named before any setting was renamed
BEFORE = {
    ("chan-f30k", ()): "fa6275ac474c",
    (
        "scan-t2i-mean-smoke",
        ("training.lr_decay_epochs=2", "encoder.word_init=xavier"),
    ): "4656899ab894",
    ("rcar-t2i-coco", ("training.grad_clip=1", "training.feature_cache=never")): "0307ed599fde",
    ("saf", ("training.token_dropout=0.1", "training.region_dropout=0.1")): "ac924a1560aa",
}


def config(name: str, changes: tuple[str, ...]) -> dict[str, object]:
    return {"dataset": "d", "seed": 3, "recipe": recipes.get(name).replace(*changes).to_dict()}


@pytest.mark.parametrize(("made_of", "digest"), BEFORE.items())
def test_folders_of_runs_keep_their_names(
    made_of: tuple[str, tuple[str, ...]], digest: str
) -> None:
    now = config(*made_of)
    assert folder_of(now).name == f"3-{digest}"
    then = now | {"recipe": with_former_names(now["recipe"])}  # type: ignore[arg-type]
    assert folder_of(then).name == f"3-{digest}"


def test_former_names_are_read_and_present_names_are_settings() -> None:
    for part, names in FORMER.items():
        kind = {"encoder": EncoderSettings, "training": TrainingSettings}[part]
        present = set(kind.model_fields)
        assert names.keys() <= present
        assert not present & set(names.values())
    made = recipes.get("chan-f30k").to_dict()
    assert with_present_names(with_former_names(made)) == made
    assert recipes.from_dict(with_former_names(made)) == recipes.get("chan-f30k")


def test_a_former_name_that_is_typed_names_the_present_one() -> None:
    with pytest.raises(InputError, match="use its name lr_decay_epochs"):
        recipes.get("scan-t2i-mean").replace("training.drop_every=2")


FORMER_PARTS = (  # of the names of weights: now, then
    (r"^directions\.(\w+)\.(nodes|regulator)\.pooled", r"directions.\1.\2.whole"),
    (r"^directions\.(\w+)\.nodes\.query", r"directions.\1.nodes.ask"),
    (r"^directions\.(\w+)\.nodes\.key", r"directions.\1.nodes.answer"),
    (r"^directions\.(\w+)\.regulator\.output", r"directions.\1.regulator.score"),
    (r"^directions", "gazes"),
    (r"^(regions|words)\.pooling\.pooled", r"\1.whole.whole"),
    (r"^(regions|words)\.pooling", r"\1.whole"),
    (r"^regions\.positions\.query", "regions.positions.ask"),
)


def former_name(name: str) -> str:
    for present, former in FORMER_PARTS:
        name = re.sub(present, former, name)
    return name


@pytest.mark.parametrize(
    ("name", "renamed"),
    [
        ("saf-smoke", "gazes.t2i.nodes.whole.transform.weight"),
        ("sgr-smoke", "gazes.t2i.nodes.answer.2.bias"),
        ("sgr-smoke", "regions.whole.whole_norm.running_mean"),
        ("scan-i2t-LSE+rcar-smoke", "gazes.i2t.regulator.score.weight"),
        ("scan-i2t-LSE+rcar-smoke", "gazes.i2t.regulator.whole.1.weight"),
        ("bfan-prob-smoke", "words.rnn.weight_ih_l0"),
        ("pfan-t2i-smoke", "regions.positions.ask.weight"),
        ("vse-gpo-smoke", "words.whole.linear.weight"),
        ("vsrn-smoke", "regions.whole.rnn.weight_ih_l0"),
    ],
)
def test_weights_saved_under_former_names_are_loaded(name: str, renamed: str) -> None:
    width = 5 if "pfan" not in name else 35
    saved = recipes.get(name).build(width, 9, 4)
    former = {former_name(key): value for key, value in saved.state_dict().items()}
    assert renamed in former
    loaded = recipes.get(name).build(width, 9, 4)
    loaded.load_state_dict(dict(former))
    for key, value in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    averaged = torch.optim.swa_utils.AveragedModel(loaded)
    inner = {f"module.{key}": value for key, value in former.items()}
    averaged.load_state_dict(inner | {"n_averaged": torch.tensor(1)})


def test_changes_in_the_record_are_settings_of_today() -> None:
    record = pd.read_csv(results.RECORD, keep_default_na=False)
    for row in record.drop_duplicates(["recipe", "changes"]).itertuples():
        members = zip(row.recipe.split(" + "), row.changes.split(" + "), strict=True)
        for recipe, changes in members:  # several, where scores are added
            recipes.get(recipe).replace(*changes.split())


def test_weights_whose_present_names_look_former_are_left() -> None:
    matcher = recipes.get("sgr-smoke").build(5, 9, 4)
    matcher.directions["t2i"].nodes.whole = torch.nn.Linear(1, 1)  # type: ignore[attr-defined]
    matcher.load_state_dict(matcher.state_dict())
