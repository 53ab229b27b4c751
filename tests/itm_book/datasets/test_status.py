"""Status of a dataset's files: download, corruption, first use, the next command."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock

from itm_book.datasets.download import ARRIVING, RetryPolicy
from itm_book.datasets.registry import FileEntry, SetEntry, Unpack
from itm_book.datasets.status import CORRUPT, MISSING, PRESENT, DatasetStatus, get, next_command
from itm_core.errors import InputError
from itm_core.json_files import read_json
from tests.loopback import Loopback, serving

CONTENT = b"captions\n" * 100
QUICK = RetryPolicy(connect=2, stall=0.3, tries=2, pause=0.001)


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving() as found:
        yield found


def archive(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, text in members.items():
            zipped.writestr(f"{name}.txt", text)
    return buffer.getvalue()


ARCHIVE = archive(a="one", b="two")


@pytest.fixture
def entry(server: Loopback) -> SetEntry:
    """A set with a file of unknown hash, an archive with an MD5, one by hand, and an optional."""
    texts = Unpack(into="texts", members=("*.txt",), most=1000)
    return SetEntry(
        name="toy",
        title="Toy",
        what="toys",
        terms="none",
        by_hand="1. Ask.",
        then="itm check data/toy",
        files=(
            FileEntry(name="caps.txt", what="captions", sources=(server.put("/caps", CONTENT),)),
            FileEntry(
                name="texts.zip",
                what="texts",
                md5=hashlib.md5(ARCHIVE).hexdigest(),
                sources=(server.put("/zip", ARCHIVE),),
                unpack=texts,
            ),
            FileEntry(name="ims.npy", what="regions"),
            FileEntry(name="more.txt", what="more", sources=("http://x/",), optional=True),
        ),
    )


def states(entry: SetEntry, data: Path, *, quick: bool = False) -> list[str]:
    return [status.state for status in DatasetStatus(entry, data, quick=quick).all_files()]


def by_hand(data: Path) -> None:
    np.save(data / "toy" / "ims.npy", np.ones((2, 3), np.float32))


def test_a_set_is_fetched_unpacked_and_recorded(entry: SetEntry, tmp_path: Path) -> None:
    assert states(entry, tmp_path) == [MISSING] * 4
    assert not (tmp_path / "toy").exists()  # checking creates nothing
    statuses = get(entry, data=tmp_path, retry=QUICK)
    assert [status.state for status in statuses] == [PRESENT, PRESENT, MISSING]
    assert (tmp_path / "toy" / "texts" / "b.txt").read_text() == "two"
    record = read_json(tmp_path / "toy" / "hashes.json")
    assert record["files"]["caps.txt"] == {
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    assert record["files"]["texts.zip"]["sha256"] == hashlib.sha256(ARCHIVE).hexdigest()
    assert record["unpacked"]["texts.zip"]["texts/a.txt"]["size"] == 3
    by_hand(tmp_path)
    assert states(entry, tmp_path) == [PRESENT, PRESENT, PRESENT, MISSING]
    assert states(entry, tmp_path, quick=True) == [PRESENT, PRESENT, PRESENT, MISSING]


def test_what_is_there_is_not_fetched_again(
    entry: SetEntry, server: Loopback, tmp_path: Path
) -> None:
    get(entry, data=tmp_path, retry=QUICK)
    (tmp_path / "toy" / "texts.zip").unlink()  # what was unpacked is enough
    server.requests.clear()
    statuses = get(entry, data=tmp_path, retry=QUICK)
    assert [status.state for status in statuses] == [PRESENT, PRESENT, MISSING]
    assert server.requests == []


def test_an_archive_put_there_by_hand_is_only_unpacked(
    entry: SetEntry, server: Loopback, tmp_path: Path
) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "texts.zip").write_bytes(ARCHIVE)
    (status,) = [f for f in DatasetStatus(entry, tmp_path).all_files() if f.file.unpack]
    assert (status.state, status.detail) == (MISSING, "the archive is present, but not unpacked")
    (status,) = get(entry, ["texts.zip"], data=tmp_path, retry=QUICK)
    assert status.state == PRESENT
    assert server.requests == []


def test_another_archive_put_there_by_hand_is_replaced(entry: SetEntry, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "texts.zip").write_bytes(archive(a="evil", b="two"))
    assert states(entry, tmp_path)[1] == CORRUPT
    (status,) = get(entry, ["texts.zip"], data=tmp_path, retry=QUICK)
    assert status.state == PRESENT
    assert (tmp_path / "toy" / "texts" / "a.txt").read_text() == "one"


@pytest.mark.parametrize("damage", ["content", "size", "gone"])
@pytest.mark.parametrize("name", ["caps.txt", "texts/a.txt"])
def test_damage_is_found_and_repaired(
    entry: SetEntry, server: Loopback, tmp_path: Path, name: str, damage: str
) -> None:
    get(entry, data=tmp_path, retry=QUICK)
    path = tmp_path / "toy" / name
    good = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"X" + good[1:] if damage == "content" else good + b"more")
    which = 0 if name == "caps.txt" else 1
    absent = MISSING if name == "caps.txt" else CORRUPT  # a part of an archive is gone
    assert states(entry, tmp_path)[which] == (absent if damage == "gone" else CORRUPT)
    if damage == "content":
        assert states(entry, tmp_path, quick=True)[which] == PRESENT
    server.requests.clear()
    get(entry, data=tmp_path, retry=QUICK)
    assert path.read_bytes() == good
    assert [asked for asked, _ in server.requests] == (["/caps"] if which == 0 else [])


def test_a_file_of_unknown_hash_must_stay_what_it_was_at_first_use(
    entry: SetEntry, server: Loopback, tmp_path: Path
) -> None:
    get(entry, data=tmp_path, retry=QUICK)
    path = tmp_path / "toy" / "caps.txt"
    path.unlink()
    server.put("/caps", CONTENT.replace(b"c", b"k"))
    statuses = get(entry, ["caps.txt"], data=tmp_path, retry=QUICK)
    assert statuses[0].state == MISSING
    assert "the hash differs" in statuses[0].detail
    assert not path.exists()
    path.write_bytes(CONTENT.replace(b"c", b"k"))
    (status,) = [f for f in DatasetStatus(entry, tmp_path).all_files() if f.file.name == "caps.txt"]
    assert status.state == CORRUPT
    assert "if you replaced it on purpose, remove hashes.json" in status.detail


def test_a_cut_array_is_no_first_use(entry: SetEntry, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    by_hand(tmp_path)
    path = tmp_path / "toy" / "ims.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert states(entry, tmp_path)[2] == CORRUPT
    assert not (tmp_path / "toy" / "hashes.json").exists()
    path.write_bytes(whole)
    assert states(entry, tmp_path)[2] == PRESENT
    path.write_bytes(whole[:-1])  # now it is known
    assert states(entry, tmp_path, quick=True)[2] == CORRUPT


def test_a_listed_hash_stands_above_a_recorded_one(entry: SetEntry, tmp_path: Path) -> None:
    get(entry, data=tmp_path, retry=QUICK)
    listed = entry.files[0].replace(sha256="0" * 64)
    assert DatasetStatus(entry, tmp_path).of(listed).state == CORRUPT


def test_one_dead_source_does_not_stop_the_others(
    entry: SetEntry, server: Loopback, tmp_path: Path
) -> None:
    server.put("/caps", CONTENT, 404)
    statuses = get(entry, data=tmp_path, retry=QUICK)
    assert [status.state for status in statuses] == [MISSING, PRESENT, MISSING]
    assert "404" in statuses[0].line()


def test_what_has_arrived_is_told(entry: SetEntry, server: Loopback, tmp_path: Path) -> None:
    server.put("/caps", CONTENT, "drop", 404)
    get(entry, ["caps.txt"], data=tmp_path, retry=QUICK)
    assert "450 bytes downloaded so far" in DatasetStatus(entry, tmp_path).all_files()[0].line()


def test_a_hostile_archive_changes_nothing(
    entry: SetEntry, server: Loopback, tmp_path: Path
) -> None:
    evil = archive(a="one", **{"../b": "two"})
    server.put("/zip", evil)
    file = entry.files[1].replace(md5=hashlib.md5(evil).hexdigest())
    with pytest.raises(InputError, match="leads out of its folder"):
        get(entry.replace(files=(file,)), data=tmp_path, retry=QUICK)
    assert not list(tmp_path.rglob("*.txt"))


def test_space_is_asked_for_all_files_at_once(
    entry: SetEntry, server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tuple(file.replace(about=4000) for file in entry.files[:2])
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5000))
    with pytest.raises(InputError, match=r"expected 8.0 kB free, found 5.0 kB free"):
        get(entry.replace(files=files), data=tmp_path, retry=QUICK)
    assert server.requests == []


def test_two_do_not_fetch_one_set_at_once(entry: SetEntry, tmp_path: Path) -> None:
    arriving = tmp_path / "toy" / ARRIVING
    arriving.mkdir(parents=True)
    with FileLock(arriving / "lock"), pytest.raises(InputError, match="another process"):
        get(entry, data=tmp_path, retry=QUICK)


def test_the_next_command(entry: SetEntry, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    assert next_command(entry, DatasetStatus(entry, tmp_path).all_files()) == "itm data get toy"
    get(entry, data=tmp_path, retry=QUICK)
    assert next_command(entry, DatasetStatus(entry, tmp_path).all_files()) == "1. Ask."
    by_hand(tmp_path)
    assert next_command(entry, DatasetStatus(entry, tmp_path).all_files()) == "itm check data/toy"


HASHED = f'{{"size": 1, "sha256": "{"0" * 64}"}}'


@pytest.mark.parametrize(
    "text",
    [
        *("[]", '{"files": []}', "{", "[" * 100_000, '{"unpacked": {"a.zip": 3}}'),
        *('{"files": {"a.zip": null}}', '{"files": {"a.zip": {}}}', '{"files": {"a.zip": 3}}'),
        '{"files": {"a.zip": {"size": "1", "sha256": "0"}}}',
        '{"files": {"a.zip": {"size": 1, "sha256": "a:b"}}}',
        f'{{"unpacked": {{"a.zip": {{"../../x": {HASHED}}}}}}}',
        f'{{"unpacked": {{"a.zip": {{"/etc/passwd": {HASHED}}}}}}}',
    ],
)
def test_a_broken_record_is_named(entry: SetEntry, tmp_path: Path, text: str) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "hashes.json").write_text(text)
    with pytest.raises(InputError, match=f"toy{os.sep}hashes.json"):
        DatasetStatus(entry, tmp_path)
