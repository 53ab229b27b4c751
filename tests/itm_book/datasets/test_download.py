"""Downloads from a server that truncates, corrupts, stalls, redirects, refuses, and breaks off."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from itm_book.datasets.download import (
    ARRIVING,
    DownloadError,
    Resuming,
    RetryPolicy,
    _accept,
    _RefusedError,
    fetch,
)
from itm_book.datasets.registry import FileEntry
from itm_core.errors import InputError
from tests.loopback import Loopback, serving

CONTENT = bytes(range(256)) * 40
HALF = len(CONTENT) // 2
HASH = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
QUICK = RetryPolicy(connect=2, stall=0.2, tries=3, pause=0.001)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving() as found:
        yield found


def entry(*sources: str, name: str = "ims.bin", size: int | None = None) -> FileEntry:
    return FileEntry(name=name, what="regions", sources=sources, size=size)


def only(folder: Path) -> list[str]:
    """The files that someone who looks into the folder sees."""
    return sorted(path.name for path in folder.iterdir() if path.name != ARRIVING)


def arrived(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / ARRIVING).iterdir())


def test_a_file_comes_whole_and_nothing_else_stays(server: Loopback, tmp_path: Path) -> None:
    url = server.put("/a", CONTENT)
    path = fetch(entry(url), tmp_path, expected_hash=HASH, retry=QUICK)
    assert path == tmp_path / "ims.bin"
    assert path.read_bytes() == CONTENT
    assert (only(tmp_path), arrived(tmp_path)) == (["ims.bin"], [])
    assert server.requests == [("/a", None)]


@pytest.mark.parametrize("expected", [HASH, None])
def test_a_broken_line_is_gone_on_with_from_there(
    server: Loopback, tmp_path: Path, expected: str | None
) -> None:
    url = server.put("/a", CONTENT, "drop", "drop", "whole")
    path = fetch(entry(url), tmp_path, expected_hash=expected, retry=QUICK)
    assert path.read_bytes() == CONTENT
    ranges = [asked for _, asked in server.requests]
    assert ranges == [None, f"bytes={HALF}-", f"bytes={HALF + HALF // 2}-"]


@pytest.mark.parametrize(
    ("moods", "requests"),
    [
        (["stall", "whole"], 2),
        (["drip", "whole"], 2),
        ([500, "whole"], 2),
        ([503, 429, "whole"], 3),
        (["corrupt", "whole"], 2),
        (["long", "whole"], 2),
        (["drop", "corrupt", "whole"], 3),
        (["drop", "deaf"], 2),
        (["drop", "astray", "whole"], 3),
        (["drop", 500, "whole"], 3),
    ],
)
def test_a_bad_moment_is_survived(
    server: Loopback, tmp_path: Path, moods: list[int | str], requests: int
) -> None:
    url = server.put("/a", CONTENT, *moods)
    assert fetch(entry(url), tmp_path, expected_hash=HASH, retry=QUICK).read_bytes() == CONTENT
    assert len(server.requests) == requests
    assert arrived(tmp_path) == []


@pytest.mark.parametrize(
    ("mood", "message", "requests"),
    [
        (404, "404 Not Found", 1),
        (403, "403 Forbidden", 1),
        (500, "500 Internal Server Error", 3),
        ("drop", "IncompleteRead", 3),
        ("corrupt", "the hash differs", 2),
        ("short", "the hash differs", 2),
        ("stall", "timed out", 3),
        ("drip", "stalled", 3),
        ("web", "a web page", 1),
        ("packed", "another encoding", 1),
        ("ftp://127.0.0.1/a", "not a usable address", 1),
        ("file:///etc/hostname", "not a usable address", 1),
    ],
)
def test_a_source_that_stays_bad_is_left_for_the_next(
    server: Loopback, tmp_path: Path, mood: int | str, message: str, requests: int
) -> None:
    bad, good = server.put("/bad", CONTENT, mood), server.put("/good", CONTENT)
    if mood == "drop":  # each attempt gets half of the rest, so it would end: let it not
        server.moods["/bad"] = ["drop", 500]
        message = "500"
    with pytest.raises(DownloadError, match=message):
        fetch(entry(bad), tmp_path, expected_hash=HASH, retry=QUICK)
    assert only(tmp_path) == []
    assert len(server.requests) == requests
    assert (
        fetch(entry(bad, good), tmp_path, expected_hash=HASH, retry=QUICK).read_bytes() == CONTENT
    )
    assert (only(tmp_path), arrived(tmp_path)) == (["ims.bin"], [])


def test_what_one_source_began_another_ends(server: Loopback, tmp_path: Path) -> None:
    bad = server.put("/bad", CONTENT, "drop", 404)
    good = server.put("/good", CONTENT)
    path = fetch(entry(bad, good), tmp_path, expected_hash=HASH, retry=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.requests[-1] == ("/good", f"bytes={HALF}-")


def test_without_a_hash_another_source_begins_anew(server: Loopback, tmp_path: Path) -> None:
    bad = server.put("/bad", b"x" * len(CONTENT), "drop", 404)
    good = server.put("/good", CONTENT)
    path = fetch(entry(bad, good), tmp_path, expected_hash=None, retry=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.requests[-1] == ("/good", None)


@pytest.mark.parametrize("mood", ["whole", "careless"])
def test_without_a_hash_a_file_that_changed_meanwhile_begins_anew(
    server: Loopback, tmp_path: Path, mood: str
) -> None:
    url = server.put("/a", b"x" * len(CONTENT), "drop", 404)
    with pytest.raises(DownloadError):
        fetch(entry(url), tmp_path, expected_hash=None, retry=QUICK)
    server.put("/a", CONTENT, mood)
    server.requests.clear()
    assert fetch(entry(url), tmp_path, expected_hash=None, retry=QUICK).read_bytes() == CONTENT
    again = [] if mood == "whole" else [("/a", None)]  # a server that heeds If-Range sends it all
    assert server.requests == [("/a", f"bytes={HALF}-"), *again]


def test_without_a_hash_another_part_than_asked_for_is_not_joined(
    server: Loopback, tmp_path: Path
) -> None:
    url = server.put("/a", CONTENT, "drop", "astray", "whole")
    assert fetch(entry(url), tmp_path, expected_hash=None, retry=QUICK).read_bytes() == CONTENT


def test_what_has_arrived_stays_while_it_is_checked(server: Loopback, tmp_path: Path) -> None:
    part, output = tmp_path / "a.part", tmp_path / "tmpabc"
    url = server.put("/a", CONTENT)
    Resuming(part, None, HASH, QUICK)(url, str(output), None)
    assert part.read_bytes() == output.read_bytes() == CONTENT


def test_without_hash_and_sign_nothing_is_gone_on_with(server: Loopback, tmp_path: Path) -> None:
    url = server.put("/a", CONTENT, "unsigned", "unsigned")
    part = tmp_path / ARRIVING / "ims.bin.part"
    part.parent.mkdir()
    part.write_bytes(b"of something else")
    assert fetch(entry(url), tmp_path, expected_hash=None, retry=QUICK).read_bytes() == CONTENT
    assert server.requests == [("/a", None)]


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, '{"url": 3, "sign": 4}', "9" * 5000])
def test_a_damaged_note_of_what_has_arrived_is_ignored(
    server: Loopback, tmp_path: Path, text: str
) -> None:
    part = tmp_path / ARRIVING / "ims.bin.part"
    part.parent.mkdir()
    part.write_bytes(b"of something else")
    part.with_name(f"{part.name}.json").write_text(text)
    url = server.put("/a", CONTENT)
    assert fetch(entry(url), tmp_path, expected_hash=None, retry=QUICK).read_bytes() == CONTENT


def test_a_line_that_breaks_again_and_again_may_as_long_as_it_gets_on(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.put("/a", CONTENT, *["drop"] * 5, "whole")
    with pytest.raises(DownloadError):
        fetch(entry(url), tmp_path, expected_hash=HASH, retry=QUICK)
    server.put("/b", CONTENT, *["drop"] * 5, "whole")
    monkeypatch.setattr("itm_book.datasets.download.PROGRESS", 100)
    path = fetch(
        entry(url.replace("/a", "/b"), name="b"), tmp_path, expected_hash=HASH, retry=QUICK
    )
    assert path.read_bytes() == CONTENT


def test_a_second_command_goes_on_with_what_has_arrived(server: Loopback, tmp_path: Path) -> None:
    url = server.put("/a", CONTENT, "drop", 500)
    with pytest.raises(DownloadError, match="the download is resumed"):
        fetch(entry(url), tmp_path, expected_hash=HASH, retry=QUICK)
    assert only(tmp_path) == []
    server.put("/a", CONTENT)
    assert fetch(entry(url), tmp_path, expected_hash=HASH, retry=QUICK).read_bytes() == CONTENT
    assert server.requests[-1] == ("/a", f"bytes={HALF}-")


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_what_had_arrived_before_a_kill_is_only_checked(
    server: Loopback, tmp_path: Path, size: int | None
) -> None:
    url = server.put("/a", CONTENT)
    arriving = tmp_path / ARRIVING
    arriving.mkdir()
    (arriving / "ims.bin.part").write_bytes(CONTENT)
    (arriving / "tmpabc").write_bytes(CONTENT)  # pooch's, of the process that was killed
    path = fetch(entry(url, size=size), tmp_path, expected_hash=HASH, retry=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.requests == ([] if size else [("/a", f"bytes={len(CONTENT)}-")])
    assert arrived(tmp_path) == []


def test_more_than_the_whole_file_has_arrived(server: Loopback, tmp_path: Path) -> None:
    url = server.put("/a", CONTENT)
    arriving = tmp_path / ARRIVING
    arriving.mkdir()
    (arriving / "ims.bin.part").write_bytes(CONTENT + b"and more")
    assert fetch(entry(url), tmp_path, expected_hash=HASH, retry=QUICK).read_bytes() == CONTENT


def test_redirects_are_followed_and_end(server: Loopback, tmp_path: Path) -> None:
    url = server.put("/a", CONTENT)
    moved = server.put("/moved", b"", url)
    assert fetch(entry(moved), tmp_path, expected_hash=HASH, retry=QUICK).read_bytes() == CONTENT
    circle = server.put("/circle", b"", moved.replace("moved", "circle"))
    with pytest.raises(DownloadError, match="redirects"):
        fetch(entry(circle, name="b.bin"), tmp_path, expected_hash=HASH, retry=QUICK)


def test_another_size_than_the_listed_one_is_seen_before_it_is_fetched(
    server: Loopback, tmp_path: Path
) -> None:
    url = server.put("/a", CONTENT[:-1])
    with pytest.raises(DownloadError, match="another file: 10239 bytes, not 10240"):
        fetch(entry(url, size=len(CONTENT)), tmp_path, expected_hash=HASH, retry=QUICK)
    assert arrived(tmp_path) == []


def test_an_answer_whose_end_cannot_be_told_needs_a_hash(server: Loopback, tmp_path: Path) -> None:
    url = server.put("/a", CONTENT, "endless")
    with pytest.raises(DownloadError, match="does not send the size"):
        fetch(entry(url), tmp_path, expected_hash=None, retry=QUICK)
    assert fetch(entry(url), tmp_path, expected_hash=HASH, retry=QUICK).read_bytes() == CONTENT


def test_an_answer_without_an_end_is_cut_off(server: Loopback, tmp_path: Path) -> None:
    url = server.put("/a", CONTENT + b"and on", "endless")
    with pytest.raises(DownloadError, match="sent more than the announced 10240 bytes"):
        fetch(entry(url, size=len(CONTENT)), tmp_path, expected_hash=HASH, retry=QUICK)
    assert arrived(tmp_path) == []


def test_a_cut_archive_without_a_hash_never_gets_its_name(server: Loopback, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("a.txt", "text" * 100)
    url = server.put("/a.zip", buffer.getvalue(), "short")
    with pytest.raises(DownloadError, match="truncated"):
        fetch(entry(url, name="a.zip"), tmp_path, expected_hash=None, retry=QUICK)
    assert (only(tmp_path), arrived(tmp_path)) == ([], [])


def test_too_little_space_is_said_before_it_starts(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.put("/a", CONTENT)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5000))
    with pytest.raises(InputError, match=r"no space.*expected 10.2 kB free, found 5.0 kB free"):
        fetch(entry(url), tmp_path, expected_hash=HASH, retry=QUICK)
    assert arrived(tmp_path) == []


def test_nobody_answers(tmp_path: Path) -> None:
    with serving() as server:
        url = server.put("/a", CONTENT)
    with pytest.raises(DownloadError, match="refused"):
        fetch(entry(url), tmp_path, expected_hash=HASH, retry=QUICK)
    with pytest.raises(DownloadError, match="no address without a login"):
        fetch(entry(), tmp_path, expected_hash=HASH, retry=QUICK)


@pytest.mark.parametrize("expected", [HASH, None])
def test_without_a_hash_encryption_is_not_given_up_on_the_way(expected: str | None) -> None:
    def answer(url: str) -> requests.Response:
        found = requests.Response()
        found.url, found.status_code, found.raw = url, 200, io.BytesIO()
        return found

    last = answer("http://b.example/ims.bin")
    last.history = [answer("https://a.example/ims.bin")]
    if expected:
        _accept(last, "ims.bin", expected)
    else:
        with pytest.raises(_RefusedError, match="without encryption"):
            _accept(last, "ims.bin", expected)
