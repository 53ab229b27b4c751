"""Releases' files are opened without running what they contain, and without their control codes."""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from itm_book.checkpoints.reading import flattened, plain, read_checkpoint
from itm_core.errors import InputError


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


class Hostile:
    """Runs a command when it is unpickled by a reader that trusts it."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


@pytest.mark.parametrize("where", ["opt", "model", "best_rsum"])
@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize(
    ("function", "named"),
    [(os.system, "found posix.system"), (eval, "found eval"), (subprocess.Popen, "Popen")],
)
def test_a_hostile_pickle_is_refused_by_name_before_it_runs(
    where: str, modern: bool, function: Any, named: str, tmp_path: Path
) -> None:
    marker, path = tmp_path / "ran", tmp_path / "model.pth.tar"
    content = {"model": [{}, {}], "opt": argparse.Namespace(cross_attn="t2i"), "best_rsum": 1.0}
    command = f"touch {marker}" if function is not eval else f"open({str(marker)!r}, 'w')"
    content[where] = Hostile(function, command)
    torch.save(content, path, _use_new_zipfile_serialization=modern)
    with pytest.raises(InputError, match="unsafe or damaged checkpoint") as caught:
        read_checkpoint(path)
    assert named in str(caught.value)
    assert not marker.exists()
    for advice in ("weights_only", "safe_globals", "trust", "\x1b", "\n"):
        assert advice not in str(caught.value)


def test_a_pickle_of_another_protocol_is_refused_without_advice(tmp_path: Path) -> None:
    path = tmp_path / "model.pth.tar"
    content = {"model": [{}], "opt": Hostile(os.system, "true")}
    torch.save(content, path, pickle_protocol=4)
    with pytest.raises(InputError, match="an instruction that no checkpoint needs") as caught:
        read_checkpoint(path)
    assert "weights_only" not in str(caught.value)


def test_a_class_with_control_characters_is_named_without_them(tmp_path: Path) -> None:
    path = tmp_path / "model.pth.tar"
    torch.save({"model": [], "opt": SimpleNamespace()}, path, _use_new_zipfile_serialization=False)
    hostile = path.read_bytes().replace(b"SimpleNamespace", b"\x1b[2JmpleNam\x07ace")
    assert b"\x1b[2J" in hostile
    path.write_bytes(hostile)
    with pytest.raises(InputError) as caught:
        read_checkpoint(path)
    assert str(caught.value).isprintable()
    assert r"\x1b[2JmpleNam\x07ace" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.npy", r"a NumPy array"),
        ("a.json", "text, perhaps JSON"),
        ("list.json", "text, perhaps JSON"),
        ("page.html", "text, perhaps a web page"),
        ("pointer.pth", "a Git LFS pointer"),
        ("empty.pth", "an empty file"),
        ("folder", "a folder"),
    ],
)
def test_what_is_something_else_is_named_without_an_alarm(
    name: str, found: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.json").write_text('{"model": 1}')
    (tmp_path / "list.json").write_text("\n [1]")
    (tmp_path / "page.html").write_text("<!DOCTYPE html>")
    (tmp_path / "pointer.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=f"not a checkpoint.*found {found}") as caught:
        read_checkpoint(tmp_path / name)
    assert "unsafe" not in str(caught.value)
    assert "do not open" not in str(caught.value)


@given(st.integers(0, 2**31), st.integers(1, 255))
@example(1520, 0x10)  # the weights are marked as a folder
def test_a_changed_byte_of_an_archive_changes_no_weight(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: int
) -> None:
    path = tmp_path_factory.mktemp("changed") / "model.pth.tar"
    weight = torch.arange(32.0)
    torch.save({"model": [{"fc.weight": weight}], "opt": argparse.Namespace(a=1)}, path)
    whole = bytearray(path.read_bytes())
    whole[place % len(whole)] ^= change
    path.write_bytes(bytes(whole))
    try:
        found = read_checkpoint(path)
    except InputError:
        return
    assert torch.equal(found["model"][0]["fc.weight"], weight)
    assert found["opt"] == argparse.Namespace(a=1)


@given(st.text())
def test_plain_text_is_one_printable_line(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert len(shown) <= 121
    if text.isprintable() and len(text) <= 120:
        assert shown == text


@given(st.integers(0, 2**31), st.binary(min_size=1, max_size=8))
def test_a_damaged_file_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, place: int, noise: bytes
) -> None:
    """Whatever bytes are changed: a dictionary, or an `InputError`; nothing else."""
    path = tmp_path_factory.mktemp("damaged") / "model.pth.tar"
    content = {"model": [{"fc.weight": torch.ones(2)}], "opt": argparse.Namespace(a=1)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    whole = bytearray(path.read_bytes())
    start = place % len(whole)
    whole[start : start + len(noise)] = noise
    path.write_bytes(bytes(whole))
    found: Any = None
    try:
        found = read_checkpoint(path)
    except InputError as error:
        found = {"model": error.file}
    assert "model" in found


def test_layouts_are_flattened(tmp_path: Path) -> None:
    one = torch.ones(1)
    path = tmp_path / "model.pth.tar"
    for single in ({"module.a.b": one}, {"a.b": one}, [{"module.a.b": one}]):
        assert list(flattened(single, path)) == ["a.b"]
    parts = flattened([{"module.x": one}, {"y": one}, {"z": one}, {}], path)
    assert list(parts) == ["img_enc.x", "txt_enc.y", "sim_enc.z"]
    assert list(flattened([{}, {}, {}, {"w": one}], path)) == ["criterion.w"]
    for wrong, message in (
        (3, "unknown layout"),
        ([], "unknown layout"),
        ([{}] * 5, "unknown layout"),
        ([{"a": 1}], "one tensor for each name; found int|int at a"),
        ({"a": one, "module.a": one}, "two weights of this name"),
    ):
        with pytest.raises(InputError, match=message):
            flattened(wrong, path)
