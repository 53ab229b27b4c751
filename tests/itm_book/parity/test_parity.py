"""The reference numbers in tests/golden, and that the comparison can fail."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from itm_book import parity
from itm_core.cli import main
from tests.places import GOLDEN

FILES = sorted(p for p in GOLDEN.glob("*") if p.suffix in (".npz", ".json"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_our_numbers_agree_with_the_authors(path: Path) -> None:
    report = parity.compare_file(path)
    assert report.passed, report.line()
    assert report.differences


def changed(path: Path, folder: Path, key: str, change: float) -> Path:
    """Write a copy of a reference with one number of one array changed."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays[key] = arrays[key].copy()
    arrays[key].flat[0] += change
    copy = folder / path.name
    np.savez(copy, **arrays)
    return copy


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("outputs/sims", 1e-4),
        ("outputs/img_emb", 1e-4),
        ("outputs/cap_emb", float("nan")),
        ("outputs/loss_max", 1e-2),
        ("outputs/loss_sum", 1e-2),
        ("outputs/grad/txt_enc.embed.weight", 1.0),
        ("weights/img_enc.fc.bias", 0.1),
        ("outputs/cap_len", 1),
    ],
)
def test_a_changed_number_is_found(tmp_path: Path, key: str, change: float) -> None:
    copy = changed(GOLDEN / "scan_t2i_lse.npz", tmp_path, key, change)
    report = parity.compare_file(copy)
    assert not report.passed
    assert report.known
    assert "FAIL" in report.line()


def test_a_number_that_nothing_compares_is_a_failure(tmp_path: Path) -> None:
    with np.load(GOLDEN / "scan_t2i_lse.npz") as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(tmp_path / "more.npz", **arrays, **{"outputs/novelty": np.ones(3)})
    report = parity.compare_file(tmp_path / "more.npz")
    assert not report.passed
    assert "novelty" in report.line()


@pytest.mark.parametrize(
    ("option", "value"),
    [("raw_feature_norm", "l7norm"), ("agg_func", "Median"), ("precomp_enc_type", "cnn")],
)
def test_an_option_we_do_not_have_is_a_failure(tmp_path: Path, option: str, value: str) -> None:
    with np.load(GOLDEN / "scan_t2i_lse.npz") as file:
        arrays = {name: file[name] for name in file.files}
    config = json.loads(str(arrays["config"])) | {option: value}
    np.savez(tmp_path / "odd.npz", **(arrays | {"config": np.array(json.dumps(config))}))
    report = parity.compare_file(tmp_path / "odd.npz")
    assert not report.passed
    assert value in report.line()


def test_the_command_lists_every_file_and_its_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(GOLDEN / "scan_t2i_lse.npz", tmp_path)
    (tmp_path / "README.md").write_text("prose")
    assert main(["parity", str(tmp_path)]) == 0
    assert "1 agree, 0 fail, 0 unknown" in capsys.readouterr().out
    np.savez(tmp_path / "stranger.npz", x=np.ones(2))
    (tmp_path / "cut.npz").write_bytes((GOLDEN / "scan_t2i_lse.npz").read_bytes()[:5000])
    assert main(["parity", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "???? stranger.npz" in printed
    assert "FAIL cut.npz" in printed
    assert "1 agree, 1 fail, 1 unknown" in printed


def test_an_empty_or_missing_folder_is_bad_input(tmp_path: Path) -> None:
    assert main(["parity", str(tmp_path)]) == 2
    assert main(["parity", str(tmp_path / "absent")]) == 2
