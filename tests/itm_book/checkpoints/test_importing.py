"""What a release's options and weights become: the authors' scores, or a refusal that says why."""

from __future__ import annotations

import argparse
import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itm_book.checkpoints.importing import import_checkpoint
from itm_core.cli import main
from itm_core.errors import InputError
from itm_core.experiments import runs
from itm_core.json_files import read_json
from itm_core.models import Attending
from itm_core.models.pairing import AllPairs
from tests.places import GOLDEN
from tests.releases import RELEASES
from tests.releases import write as write_release

CASES = {  # files of weights and scores of the authors' models, by release
    "scan_t2i_lse": "scan",
    "scan_i2t_lse_weightnorm": "scan",
    "scan_t2i_mean_unigru": "scan",
    "bfan_prob": "bfan",
    "bfan_equal": "bfan",
    "pfan_t2i_mean": "pfan",
    "pfan_i2t_lse": "pfan",
    "sgraf_saf": "sgraf",
    "sgraf_sgr": "sgraf",
    "imram_full_step3": "imram",
    "imram_text_step3": "imram",
    "imram_full_step2_normed": "imram",
    "rcar_t2i_rcar3": "rcar",
    "rcar_i2t_rcr2": "rcar",
    "rcar_i2t_base": "rcar",
    "chan_model_gru_selfattn_vha_lse_equal": "chan",
    "vsepp_cosine": "vsepp",
    "vsepp_order": "vsepp",
    "vsrn_f30k": "vsrn",
    "vsrn_coco": "vsrn",
    "vseinf_region_bigru": "vseinf",
}


def stored(case: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with np.load(GOLDEN / f"{case}.npz") as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, json.loads(str(arrays.pop("config")))


def write(path: Path, case: str, *, drop: str = "", modern: bool = True, **changes: object) -> Path:
    """Write a release's file with reference weights: the options are those that it knows."""
    arrays, config = stored(case)
    known = {name: config[name] for name in RELEASES[CASES[case]].options if name in config}
    weights = {
        name.removeprefix("weights/"): torch.from_numpy(value.copy())
        for name, value in arrays.items()
        if name.startswith("weights/") and name != f"weights/{drop}"
    }
    return write_release(path, CASES[case], weights, modern=modern, **(known | changes))


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_an_imported_model_scores_as_its_authors_did(
    case: str, modern: bool, tmp_path: Path
) -> None:
    path = write(tmp_path / "model_best.pth.tar", case, modern=modern)
    found = import_checkpoint(path, tmp_path / "imported")
    assert not found.missing
    assert not found.misfits
    run = runs.load(tmp_path / "imported")
    assert run.recipe == found.recipe
    matcher = run.matcher()
    arrays, _ = stored(case)
    images = torch.from_numpy(arrays["inputs/images"])
    if "inputs/boxes" in arrays:
        images = torch.cat([images, torch.from_numpy(arrays["inputs/boxes"])], -1)
    images = images[:, None] if images.ndim == 2 else images
    counts = arrays.get("inputs/image_lengths")
    with torch.no_grad():
        regions = matcher.regions(images, None if counts is None else torch.from_numpy(counts))
        words = matcher.words(
            torch.from_numpy(arrays["inputs/captions"]), torch.from_numpy(arrays["inputs/lengths"])
        )
        scores = matcher(AllPairs(regions, words)).T
    np.testing.assert_allclose(scores.numpy(), arrays["outputs/sims"], atol=2e-5)


def test_every_key_is_accounted_for(tmp_path: Path) -> None:
    path = write(tmp_path / "rcar.pth", "rcar_i2t_rcr2")
    found = import_checkpoint(path, tmp_path / "imported")
    arrays, _ = stored("rcar_i2t_rcr2")
    names = {n.removeprefix("weights/") for n in arrays if n.startswith("weights/")}
    assert found.used.keys() | found.unused.keys() == names
    assert {n for n in found.unused if "bns.1" in n} == {n for n in names if "bns.1" in n}
    assert "sim_enc.sim_eval_w.weight" in found.unused
    text = json.loads((tmp_path / "imported" / "import.json").read_text())
    assert text["unused"] == found.unused
    assert text["used"] == found.used
    assert "unused" in "\n".join(found.lines())


def refused(path: Path, message: str) -> None:
    """The file is refused with this text and exit code 2, and nothing is left behind."""
    before = sorted(p.name for p in path.parent.iterdir())
    with pytest.raises(InputError, match=message) as caught:
        import_checkpoint(path, path.parent / "imported")
    assert str(caught.value).replace("\n", "").isprintable()
    assert main(["import", str(path), "--folder", str(path.parent / "imported")]) == 2
    assert sorted(p.name for p in path.parent.iterdir()) == before


def test_a_missing_weight_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = write(tmp_path / "model.pth.tar", "scan_t2i_lse", drop="img_enc.fc.bias")
    refused(path, r"lacks weights.*missing\s+regions\.fc\.bias")


def with_weights(path: Path, part: int, changes: dict[str, Any]) -> Path:
    """Write SCAN's file with other values in one of its state dicts; None takes a name out."""
    write(path, "scan_t2i_lse")
    content = torch.load(path, weights_only=False)
    for name, value in changes.items():
        if value is None:
            del content["model"][part][name]
        else:
            content["model"][part][name] = value
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        (1, {"rnn.weight_ih_l9": torch.zeros(2)}, r"rnn\.weight_ih_l9: has no place"),
        (0, {"fc.\x1b[31mred": torch.zeros(2)}, r"fc\.\\x1b\[31mred: has no place"),
        (0, {"fc.bias": torch.zeros(3)}, r"fc\.bias: has another shape: \(3,\), expected \(32,\)"),
        (0, {"fc.weight": torch.zeros(24, 32)}, "has another shape"),
        (0, {"fc.bias": torch.full((32,), torch.nan)}, "values that are not finite"),
        (0, {"fc_local.bias": torch.zeros(32)}, "another key has its place"),
        (0, {"fc.bias": 3}, "one tensor for each name"),
        (1, {"embed.weight": torch.zeros(0, 12)}, "sizes must be whole numbers"),
        (1, {"embed.weight": torch.tensor(1.0)}, r"embed\.weight: has another shape: \(\)"),
        (
            0,
            {"fc.bias": torch.zeros(32).to(torch.float8_e4m3fn)},
            r"fc\.bias: has numbers of a type that is not read here: torch\.float8_e4m3fn",
        ),
        (0, {"fc.bias": torch.zeros(32).to_sparse()}, "no dense tensor of real numbers"),
        (0, {"fc.bias": torch.zeros(32, dtype=torch.complex64)}, "no dense tensor of real"),
        (0, {"fc.bias": torch.zeros(32, device="meta")}, "no dense tensor of real numbers"),
    ],
)
def test_weights_that_are_not_the_methods_are_refused(
    part: int, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    refused(with_weights(tmp_path / "model.pth.tar", part, changes), message)


def test_half_an_encoder_is_refused(tmp_path: Path) -> None:
    """A file with two directions, and an option that says one: importing it would halve it."""
    path = write(tmp_path / "model.pth.tar", "scan_t2i_lse", bi_gru=False)
    refused(path, r"brings weights that nothing takes.*rnn\.weight_ih_l0_reverse")


def test_bfan_has_two_directions_without_an_option(tmp_path: Path) -> None:
    assert "bi_gru" not in RELEASES["bfan"].options
    path = write(tmp_path / "model.pth.tar", "bfan_prob")
    found = import_checkpoint(path, tmp_path / "imported")
    assert found.recipe.encoder.bidirectional
    assert found.used["txt_enc.rnn.weight_hh_l0_reverse"] == "words.rnn.weight_hh_l0_reverse"


def test_a_trial_run_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    huge = {"fc.weight": torch.full((32, 24), 3e38), "fc.bias": torch.full((32,), 3e38)}
    refused(with_weights(tmp_path / "model.pth.tar", 0, huge), "the trial run failed")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agg_func": "Median\x1b[2J"}, r"unknown or missing option.*Median.{0,4}x1b"),
        ({"embed_size": "many"}, "encoder.embedding; expected a valid integer"),
        ({"embed_size": 1000}, r"another shape: \(32,\), expected \(1000,\)"),
        ({"img_dim": None}, "sizes must be whole numbers"),
        ({"img_dim": "x"}, "sizes must be whole numbers above zero; found img_dim x"),
        ({"cross_attn": ["t2i"]}, r"wrong value of matcher\.direction.*found \['t2i'\]"),
        ({"cross_attn": "\x07"}, r"wrong value of matcher\.direction.*found '\\x07'"),
        ({"num_layers": 0}, "encoder.gru_layers; expected greater than or equal to 1, found 0"),
        (
            {"num_layers": 10**7},
            "encoder.gru_layers; expected less than or equal to 64, found 10000000",
        ),
        ({"embed_size": 10**30}, "encoder.embedding; expected less than or equal to 65536"),
    ],
)
def test_options_that_describe_no_method_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    refused(write(tmp_path / "model.pth.tar", "scan_t2i_lse", **changes), message)


def test_options_that_no_setting_reads_may_be_anything(tmp_path: Path) -> None:
    circle: list[Any] = []
    circle.append(circle)
    odd = {"logger": circle, "table": {(1, 2): torch.ones(1)}, "name": "a\x1bb"}
    path = write(tmp_path / "model.pth.tar", "scan_t2i_lse", **odd)
    import_checkpoint(path, tmp_path / "imported")
    content = json.loads((tmp_path / "imported" / "import.json").read_text())["options"]
    assert content["logger"] == "[[...]]"
    assert content["lambda_lse"] == 6.0


def test_so_many_steps_that_building_them_would_not_end_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "model.pth.tar", "rcar_t2i_rcar3", rcar_step=10**7)
    refused(path, "regulator.steps; expected less than or equal to 64, found 10000000")
    path = write(tmp_path / "model.pth.tar", "sgraf_sgr", sgr_step=10**7)
    refused(path, "matcher.node_steps; expected less than or equal to 64, found 10000000")


def test_options_whose_names_are_no_text_name_no_family(tmp_path: Path) -> None:
    path = tmp_path / "model.pth.tar"
    torch.save({"model": [{}, {}], "opt": {3: 4}}, path)
    refused(path, "unknown method")
    content = torch.load(write(path, "scan_t2i_lse"), weights_only=False)
    torch.save(content | {"opt": vars(content["opt"]) | {3: 4}}, path)
    import_checkpoint(path, tmp_path / "imported")
    assert read_json(tmp_path / "imported" / "import.json")["options"]["3"] == 4


@pytest.mark.parametrize(
    ("seed", "kept"), [(7, 7), ("7", 7), (-1, 0), (10**30, 0), (True, 0), (1.5, 0), (None, 0)]
)
def test_what_is_no_seed_counts_as_0(seed: object, kept: int, tmp_path: Path) -> None:
    path = write(tmp_path / "model.pth.tar", "scan_t2i_lse", seed=seed)
    import_checkpoint(path, tmp_path / "imported")
    assert read_json(tmp_path / "imported" / "config.json")["seed"] == kept
    assert type(runs.load(tmp_path / "imported").seed) is int


def test_models_without_unit_length_are_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "model.pth.tar", "vsepp_cosine", no_imgnorm=True)
    refused(path, "without normalised vectors are not supported.*option no_imgnorm")


def test_the_run_says_how_its_release_trained(tmp_path: Path) -> None:
    path = write(tmp_path / "model.pth.tar", "scan_t2i_lse", num_epochs=17, max_violation=False)
    recipe = import_checkpoint(path, tmp_path / "scan").recipe
    assert recipe.training.epochs == 17
    assert recipe.training.lr_decay_epochs == RELEASES["scan"].options["lr_update"]
    assert not recipe.loss.hardest
    path = write(tmp_path / "model.pth", "rcar_t2i_rcar3")  # hard negatives come after a warm-up
    recipe = import_checkpoint(path, tmp_path / "rcar").recipe
    assert recipe.loss.hardest
    assert recipe.loss.warmup_epochs == 1


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "model.pth.tar", "scan_t2i_lse")
    (tmp_path / "imported").mkdir()
    (tmp_path / "imported" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        import_checkpoint(path, tmp_path / "imported")
    assert [p.name for p in (tmp_path / "imported").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weights": 1}, "a dictionary with `model` and `opt`"),
        ({"model": [{}], "opt": None}, "no options"),
        ({"model": 3, "opt": argparse.Namespace()}, "unknown layout"),
        ({"model": [{}, {}], "opt": argparse.Namespace(colour="red")}, "unknown method"),
        ({"model": [{}, {}], "opt": argparse.Namespace(cross_attn="t2i")}, "missing option"),
    ],
)
def test_what_is_no_checkpoint_is_named(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "model.pth.tar")
    refused(tmp_path / "model.pth.tar", message)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.pth.tar", "scan_t2i_lse").read_bytes()
    (tmp_path / "cut.pth.tar").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.pth.tar", r"cut\.pth\.tar: damaged checkpoint.*download it again")
    refused(tmp_path / "absent.pth.tar", "not found")


@pytest.mark.parametrize("place", [5000, 20000, 40000])
def test_one_changed_byte_is_found(place: int, tmp_path: Path) -> None:
    content = bytearray((GOLDEN / "checkpoints" / "scan_t2i_lse.pth.tar").read_bytes())
    content[place] ^= 1
    (tmp_path / "model.pth.tar").write_bytes(content)
    refused(tmp_path / "model.pth.tar", r"model\.pth\.tar: damaged checkpoint.*download it again")


def test_control_characters_of_the_files_name_are_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "mo\x1b[31mdel.pth.tar", "scan_t2i_lse", drop="img_enc.fc.bias")
    refused(path, r"mo\\x1b\[31mdel\.pth\.tar: the checkpoint lacks weights")
    (tmp_path / "no\x1b[31m.pth").write_text("{}")
    refused(tmp_path / "no\x1b[31m.pth", r"no\\x1b\[31m\.pth: not a checkpoint")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["import", str(write(path, "scan_t2i_lse"))]) == 2
    printed = capsys.readouterr().err
    assert "CHECKPOINT: expected the name of a file or folder" in printed
    assert "\x1b" not in printed
    assert not (tmp_path / "data").exists()


def test_a_name_that_gives_no_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "model.pth", "scan_t2i_lse").rename(tmp_path / ".pth")
    monkeypatch.chdir(tmp_path)
    assert main(["import", str(path)]) == 2
    assert "--folder DIR" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == [".pth"]
    assert main(["import", str(path), "--folder", "scan"]) == 0


@pytest.mark.parametrize(
    "folder", ["FILE/sub", "FILE/sub/deep", "link", "a" * 300, "x/y/" + "a" * 300]
)
def test_a_place_where_no_folder_can_be_made_is_refused(folder: str, tmp_path: Path) -> None:
    path = write(tmp_path / "model.pth.tar", "scan_t2i_lse")
    (tmp_path / "FILE").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(InputError, match=r"not a folder|exists already|too long"):
        import_checkpoint(path, tmp_path / folder)
    assert main(["import", str(path), "--folder", str(tmp_path / folder)]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_what_has_the_name_of_a_partial_folder_is_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "model.pth.tar", "scan_t2i_lse")
    (tmp_path / ".file.partial").write_text("mine")
    (tmp_path / ".keep.partial").mkdir()
    (tmp_path / ".keep.partial" / "mine.txt").write_text("mine")
    for name in ("file", "keep", "a" * 250):
        assert import_checkpoint(path, tmp_path / name).folder == tmp_path / name
        assert isinstance(runs.load(tmp_path / name).matcher(), Attending)
    assert (tmp_path / ".file.partial").read_text() == "mine"
    assert (tmp_path / ".keep.partial" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("error", "seen"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.ENOSPC, "full"), InputError)],
)
def test_an_import_that_is_cut_off_leaves_nothing(
    error: BaseException,
    seen: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cut_off(*_: object) -> None:
        raise error

    path = write(tmp_path / "model.pth.tar", "scan_t2i_lse")
    monkeypatch.setattr("itm_book.checkpoints.importing.save_matcher", cut_off)
    with pytest.raises(seen):
        import_checkpoint(path, tmp_path / "new" / "imported")
    assert [p.name for p in tmp_path.iterdir()] == ["model.pth.tar"]


def test_the_command_prints_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "model_best.pth.tar", "rcar_t2i_rcar3")
    assert main(["import", str(path), "--folder", str(tmp_path / "imported")]) == 0
    printed = capsys.readouterr().out
    assert "keys used" in printed
    assert "bns.1" in printed
    assert main(["import", str(path), "--folder", str(tmp_path / "imported")]) == 2
    assert isinstance(runs.load(tmp_path / "imported").matcher(), Attending)
