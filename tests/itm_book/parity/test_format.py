"""How far two numbers are apart, and what a file that is no reference does."""

from __future__ import annotations

import io
import json
import math
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from itm_book.parity import compare_file
from itm_book.parity.evaluation import _outside
from itm_book.parity.format import VALUE_LIMIT, Report, read, value_difference, value_error
from itm_core.cli import main
from itm_core.errors import InputError
from tests.itm_book.parity.writing import GOLDEN, arrays_of, config_of, write


@pytest.mark.parametrize(
    ("value", "inside", "outside"),
    [  # the limit is 2e-5, times the value above one
        (1e-3, 1.9e-5, 2.1e-5),
        (1.0, 1.9e-5, 2.1e-5),
        (50.0, 9.9e-4, 1.01e-3),
        (500.0, 9.9e-3, 1.01e-2),
    ],
)
def test_the_limit_is_absolute_below_one_and_relative_above(
    value: float, inside: float, outside: float
) -> None:
    for sign in (1, -1):
        theirs = torch.tensor([sign * value, 0.0], dtype=torch.float64)
        for change in (inside, -inside):
            assert value_difference("x", theirs + change * torch.tensor([1, 0]), theirs).passed
        for change in (outside, -outside):
            assert not value_difference("x", theirs + change * torch.tensor([1, 0]), theirs).passed
        for change, passed in ((inside, True), (outside, False)):
            stored = theirs.numpy()
            error = _outside(stored, stored + change * np.array([1, 0]))
            assert (error <= VALUE_LIMIT) == passed


def test_a_large_entry_excuses_no_small_one() -> None:
    theirs = torch.tensor([500.0, 1e-3], dtype=torch.float64)
    assert value_error(theirs + torch.tensor([0.0, 1e-3]), theirs) == pytest.approx(1e-3)


def test_whole_numbers_are_compared_exactly() -> None:
    theirs = torch.tensor([100_000])  # as a float, one off would be a relative 1e-5
    assert not value_difference("rank", theirs + 1, theirs).passed
    assert value_difference("rank", theirs, theirs).passed
    assert _outside(np.array([100_000]), np.array([100_001])) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_never_passes(bad: float) -> None:
    one, other = torch.tensor([1.0, bad]), torch.tensor([1.0, 2.0])
    assert not value_difference("x", one, other).passed
    assert not value_difference("x", other, one).passed
    assert not value_difference("x", one, one).passed


def test_another_shape_never_passes() -> None:
    assert not value_difference("x", torch.ones(2), torch.ones(1, 2)).passed
    assert math.isnan(_outside(np.ones(2), np.ones(3)))


numbers = st.floats(-1e4, 1e4)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6))
def test_the_error_is_the_worst_entry(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = (torch.tensor(x, dtype=torch.float64) for x in zip(*pairs, strict=True))
    worst = max(abs(a - b) / max(1.0, abs(b)) for a, b in pairs)
    assert value_error(ours, theirs) == pytest.approx(worst, rel=1e-12)


class Runs:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def damaged(kind: str, folder: Path) -> Path:
    path = folder / "bad.npz"
    arrays = arrays_of("hinge_loss_matrix")
    if kind == "objects":
        np.savez(path, **arrays, **{"outputs/more": np.array([Runs(folder / "ran")], object)})
    elif kind == "config of objects":
        np.savez(path, **(arrays | {"config": np.array({"margin": 0.2}, object)}))
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Runs(folder / "ran")))
    elif kind == "single array":
        with path.open("wb") as file:
            np.save(file, np.ones(3))
    elif kind == "cut":
        path.write_bytes((GOLDEN / "hinge_loss_matrix.npz").read_bytes()[:700])
    elif kind == "flipped":
        np.savez_compressed(path, **arrays)
        with zipfile.ZipFile(path) as archive:
            start = archive.getinfo("inputs/scores.npy").header_offset + 60
        content = bytearray(path.read_bytes())
        content[start : start + 40] = bytes(40)
        path.write_bytes(content)
    elif kind == "config of a list":
        np.savez(path, **(arrays | {"config": np.array(json.dumps([1, 2]))}))
    elif kind == "config of prose":
        np.savez(path, **(arrays | {"config": np.array("margin 0.2")}))
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("outputs/loss_max_margin0p2", "no array")
            archive.writestr("inputs/scores.npy", io.BytesIO(b"\x93NUMPY").getvalue())
    return path


KINDS = (
    "objects",
    "config of objects",
    "pickle",
    "single array",
    "cut",
    "flipped",
    "config of a list",
    "config of prose",
    "empty",
    "no arrays",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_or_pickled_file_is_refused_and_runs_nothing(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damaged(kind, tmp_path)
    with pytest.raises(InputError, match=r"bad\.npz"):
        read(path)
    assert main(["parity", str(path)]) == 1
    printed = capsys.readouterr().out
    assert "FAIL bad.npz" in printed
    assert "0 agree, 1 fail, 0 unknown" in printed
    assert not (tmp_path / "ran").exists()


def test_a_missing_array_is_that_file_s_failure_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = arrays_of("scan_t2i_lse")
    del arrays["inputs/lengths"]
    write(tmp_path, arrays)
    (tmp_path / "whole.npz").write_bytes((GOLDEN / "hinge_loss_matrix.npz").read_bytes())
    assert main(["parity", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "FAIL made.npz" in printed
    assert "inputs/lengths" in printed
    assert "1 agree, 1 fail, 0 unknown" in printed


def test_whatever_a_checker_stumbles_over_is_that_file_s_failure(tmp_path: Path) -> None:
    arrays = arrays_of("scan_t2i_lse")
    arrays["inputs/captions"] = arrays["inputs/captions"] + 1000  # no such words
    report = compare_file(write(tmp_path, arrays))
    assert report.verdict == "FAIL"
    assert "cannot be compared" in report.line()


def test_numbers_outside_the_known_folders_are_a_failure(tmp_path: Path) -> None:
    arrays = arrays_of("scan_t2i_lse") | {"extra/sims": np.ones(3)}
    report = compare_file(write(tmp_path, arrays))
    assert not report.passed
    assert "not compared: extra/sims" in report.line()


def test_a_report_without_a_compared_number_does_not_pass(tmp_path: Path) -> None:
    assert not Report(tmp_path, "loss").passed
    arrays = arrays_of("chan_train_steps_gru")
    left = {k: v for k, v in arrays.items() if not k.startswith("outputs/")}
    report = compare_file(write(tmp_path, left))
    assert report.verdict == "????"


def test_options_decide_what_a_file_is_said_to_be(tmp_path: Path) -> None:
    arrays = arrays_of("scan_t2i_lse")
    nameless = {k: v for k, v in config_of(arrays).items() if k != "cross_attn"}
    report = compare_file(write(tmp_path, arrays, nameless))
    assert report.verdict == "????"
    assert "no module of this package knows it" in report.line()


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    arrays = dict(np.load(GOLDEN / "bfan_equal.npz"))
    for name in ("outputs/sims", "weights/img_enc.fc.weight"):
        path = tmp_path / "complex.npz"
        np.savez(path, **(arrays | {name: arrays[name] + 5j}))
        report = compare_file(path)
        assert not report.passed
        assert "complex numbers" in report.line()
