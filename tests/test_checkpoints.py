"""The authors' checkpoint layouts, written from the reference weights, and read back safely."""

from __future__ import annotations

import argparse
import json
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from itm_core.checkpoints import import_checkpoint, load_imported, read_checkpoint
from itm_core.cli import main
from itm_core.errors import InputError
from itm_core.pairing import AllPairs

GOLDEN = Path(__file__).parent / "golden"
PARTS = ("img_enc.", "txt_enc.", "sim_enc.")
CASES = (
    "scan_t2i_lse",
    "scan_i2t_lse_weightnorm",
    "bfan_prob",
    "pfan_t2i_mean",
    "sgraf_saf",
    "sgraf_sgr",
    "imram_full_step3",
    "imram_text_step3",
    "rcar_t2i_rcar3",
    "rcar_i2t_rcr2",
    "rcar_i2t_base",
    "chan_model_gru_selfattn_vha_lse_equal",
    "vsepp_cosine",
    "vsrn_f30k",
    "vsrn_coco",
    "vseinf_region_bigru",
)


def stored(case: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with np.load(GOLDEN / f"{case}.npz") as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, json.loads(str(arrays.pop("config")))


def layout(case: str, weights: dict[str, torch.Tensor]) -> Any:
    """The releases' two layouts: one state dict, or a list of them."""
    if case.startswith("imram"):
        return weights
    if case.startswith("rcar"):
        return {f"module.{name}": value for name, value in weights.items()}
    parts = [{n.removeprefix(p): v for n, v in weights.items() if n.startswith(p)} for p in PARTS]
    return [part for part in parts if part]


def write(path: Path, case: str, *, drop: str = "", modern: bool = True, **changes: object) -> Path:
    arrays, config = stored(case)
    weights = {
        name.removeprefix("weights/"): torch.from_numpy(value.copy())
        for name, value in arrays.items()
        if name.startswith("weights/") and name != f"weights/{drop}"
    }
    content = {
        "epoch": 7,
        "model": layout(case, weights),
        "best_rsum": np.float64(432.1),
        "opt": argparse.Namespace(**(config | changes)),
        "Eiters": 1234,
    }
    torch.save(content, path, _use_new_zipfile_serialization=modern)
    return path


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_an_imported_model_scores_as_its_authors_did(
    case: str, modern: bool, tmp_path: Path
) -> None:
    path = write(tmp_path / "model_best.pth.tar", case, modern=modern)
    found = import_checkpoint(path, tmp_path / "imported")
    assert not found.missing
    recipe, matcher = load_imported(tmp_path / "imported")
    assert recipe == found.recipe
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


class OldText(pickle._Pickler):
    """Writes text as Python 2 did, in which the older releases were trained."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_str(self, text: str) -> None:
        self.write(pickle.SHORT_BINSTRING + bytes([len(text)]) + text.encode())
        self.memoize(text)

    dispatch[str] = save_str


def test_files_of_python_2_and_of_older_numpy_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.pth.tar"
    content = {
        "model": [{"fc.weight": torch.arange(3.0)}],
        "opt": argparse.Namespace(cross_attn="t2i", lambda_lse=6.0),
        "best_rsum": np.float64(432.1),
        "Eiters": np.int64(5),
    }
    torch.save(content, path, _use_new_zipfile_serialization=False)
    old = path.read_bytes().replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")
    assert b"cnumpy.core.multiarray" in old
    path.write_bytes(old)
    found = read_checkpoint(path)
    assert (found["best_rsum"], found["Eiters"]) == (432.1, 5)
    python_2 = SimpleNamespace(
        __name__="python_2",
        Pickler=OldText,
        dump=lambda value, file, protocol: OldText(file, protocol).dump(value),
    )
    content |= {"best_rsum": 432.1, "Eiters": 5}
    torch.save(content, path, pickle_module=python_2, _use_new_zipfile_serialization=False)
    assert b"U\x09fc.weight" in path.read_bytes()
    found = read_checkpoint(path)
    assert found["opt"] == content["opt"]
    assert torch.equal(found["model"][0]["fc.weight"], torch.arange(3.0))


def test_every_key_is_accounted_for(tmp_path: Path) -> None:
    path = write(tmp_path / "rcar.pth", "rcar_i2t_rcr2")
    found = import_checkpoint(path, tmp_path / "imported")
    arrays, _ = stored("rcar_i2t_rcr2")
    names = {n.removeprefix("weights/") for n in arrays if n.startswith("weights/")}
    assert found.used.keys() | found.unused.keys() == names
    assert {n for n in found.unused if "bns.1" in n} == {n for n in names if "bns.1" in n}
    assert "sim_enc.sim_eval_w.weight" in found.unused
    kept = json.loads((tmp_path / "imported" / "import.json").read_text())
    assert kept["unused"] == found.unused
    assert kept["source"] == "rcar.pth"
    assert "unused" in "\n".join(found.lines())


def test_a_missing_weight_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = write(tmp_path / "model.pth.tar", "scan_t2i_lse", drop="img_enc.fc.bias")
    with pytest.raises(InputError, match=r"lacks weights.*missing\s+regions\.fc\.bias"):
        import_checkpoint(path, tmp_path / "imported")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.pth.tar"]


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "model.pth.tar", "scan_t2i_lse")
    (tmp_path / "imported").mkdir()
    (tmp_path / "imported" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="in the way"):
        import_checkpoint(path, tmp_path / "imported")
    assert [p.name for p in (tmp_path / "imported").iterdir()] == ["mine.txt"]


class Hostile:
    """Runs a command when it is unpickled by a reader that trusts it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("where", ["opt", "model", "best_rsum"])
@pytest.mark.parametrize("modern", [True, False])
def test_a_hostile_pickle_is_refused_before_it_runs(
    where: str, modern: bool, tmp_path: Path
) -> None:
    marker, path = tmp_path / "ran", tmp_path / "model.pth.tar"
    content = {"model": [{}, {}], "opt": argparse.Namespace(cross_attn="t2i"), "best_rsum": 1.0}
    content[where] = Hostile(marker)
    torch.save(content, path, _use_new_zipfile_serialization=modern)
    with pytest.raises(InputError, match="wants something run"):
        import_checkpoint(path, tmp_path / "imported")
    assert not marker.exists()
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"weights": 1}, "a dictionary with `model` and `opt`"),
        ({"model": [{}], "opt": None}, "no options"),
        ({"model": 3, "opt": argparse.Namespace()}, "unknown layout"),
        ({"model": [{}, {}], "opt": argparse.Namespace(colour="red")}, "unknown method"),
        ({"model": [{}, {}], "opt": argparse.Namespace(cross_attn="t2i")}, "missing option"),
    ],
)
def test_what_is_no_checkpoint_is_named(content: Any, said: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "model.pth.tar")
    with pytest.raises(InputError, match=said):
        import_checkpoint(tmp_path / "model.pth.tar", tmp_path / "imported")


def test_an_unknown_option_and_a_damaged_file_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "odd.pth.tar", "scan_t2i_lse", agg_func="Median")
    with pytest.raises(InputError, match="Median"):
        import_checkpoint(path, tmp_path / "imported")
    whole = write(tmp_path / "whole.pth.tar", "scan_t2i_lse").read_bytes()
    (tmp_path / "cut.pth.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.pth\.tar"):
        import_checkpoint(tmp_path / "cut.pth.tar", tmp_path / "imported")
    with pytest.raises(InputError, match="not found"):
        import_checkpoint(tmp_path / "absent.pth.tar", tmp_path / "imported")


def test_the_command_prints_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "model_best.pth.tar", "rcar_t2i_rcar3")
    assert main(["import", str(path), "--folder", str(tmp_path / "imported")]) == 0
    said = capsys.readouterr().out
    assert "keys used" in said
    assert "bns.1" in said
    assert main(["import", str(path), "--folder", str(tmp_path / "imported")]) == 2
