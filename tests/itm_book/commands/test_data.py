"""``itm data``: what it prints, and exit codes 0, 1 (something is missing) and 2 (bad input)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from itm_book.datasets import registry
from itm_core.cli import main
from tests.loopback import Loopback, serving

CONTENT = b"A dog runs.\n" * 50


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving() as found:
        yield found


@pytest.fixture
def places(server: Loopback, tmp_path: Path) -> list[str]:
    """The arguments that name a list with one set, and a folder for it."""
    path = tmp_path / "registry.toml"
    path.write_text(f"""
[toy]
title = "Toy"
what = "fifty captions"
terms = "Public domain."
then = "itm check data/toy"
[[toy.files]]
name = "caps.txt"
what = "captions"
size = {len(CONTENT)}
sha256 = "{hashlib.sha256(CONTENT).hexdigest()}"
sources = ["{server.put("/caps", CONTENT, "drop", "whole")}"]
""")
    return ["--registry", str(path), "--data", str(tmp_path / "data")]


def test_from_nothing_to_a_whole_set(
    places: list[str], server: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "list", *places]) == 0
    output = capsys.readouterr().out
    assert re.search("^toy +600 bytes  no    Toy$", output, re.MULTILINE)
    assert main(["data", "list", "toy", *places]) == 0
    output = capsys.readouterr().out
    assert output.startswith("toy: Toy\n  content  fifty captions\n  terms    Public domain.\n")
    assert "(missing)" in output

    assert main(["data", "doctor", "toy", *places]) == 1
    output = capsys.readouterr().out
    assert output == "missing  caps.txt: captions\nnext: itm data get toy\n"

    server.moods["/caps"] = ["drop", 404, "whole"]
    assert main(["data", "get", "toy", *places]) == 1
    output = capsys.readouterr().out
    assert "404" in output
    assert "next: itm data get toy" in output

    assert main(["data", "get", "toy", "caps.txt", *places]) == 0
    assert server.requests[-1] == ("/caps", "bytes=300-")
    assert (tmp_path / "data" / "toy" / "caps.txt").read_bytes() == CONTENT
    assert "next: itm check data/toy" in capsys.readouterr().out

    assert main(["data", "doctor", "toy", *places]) == 0
    assert capsys.readouterr().out.startswith("present  caps.txt: 600 bytes")

    (tmp_path / "data" / "toy" / "caps.txt").write_bytes(CONTENT[:-1] + b"?")
    assert main(["data", "doctor", "toy", "--quick", *places]) == 0
    assert main(["data", "doctor", "toy", *places]) == 1
    assert "corrupt  caps.txt: its content differs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get", "toys"], "unknown dataset; expected one of toy, found toys"),
        (["doctor", "toys"], "unknown dataset"),
        (["list", "toys"], "Remedy: did you mean toy?"),
        (["get", "toy", "caps"], "toy has no such file; expected one of caps.txt, found caps"),
    ],
)
def test_bad_input_is_one_message(
    places: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["data", *arguments, *places]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_every_shipped_set_can_be_listed_and_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "list", "--data", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert main(["data", "list", *registry.load(), "--data", str(tmp_path)]) == 0
    details = capsys.readouterr().out
    assert max(map(len, (listed + details).splitlines())) <= 100
    for name, entry in registry.load().items():
        assert re.search(f"^{name} ", listed, re.MULTILINE)
        assert f"{name}: {entry.title}" in details
        assert entry.terms.split(".")[0].split()[-1] in details
        assert main(["data", "doctor", name, "--data", str(tmp_path)]) == 1
        assert "next: " in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
