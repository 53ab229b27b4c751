"""Unpacking: the listed members, whole; from a hostile archive nothing, and nothing changes."""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from itm_book.datasets.archives import is_complete, unpack
from itm_book.datasets.registry import Unpack
from itm_core.errors import InputError

GOOD = {"top/a.txt": b"one", "top/b.txt": b"two", "top/deep/c.txt": b"three", "__MACOSX/a": b"x"}
TEXTS = Unpack(into="texts", members=("top/*.txt",), strip=1, most=1000)


def zipped(path: Path, members: dict[str, bytes], *, kinds: dict[str, int] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = ((kinds or {}).get(name, stat.S_IFREG) | 0o644) << 16
            archive.writestr(info, content)
    return path


def tarred(path: Path, members: dict[str, bytes], *, kinds: dict[str, bytes] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.type = (kinds or {}).get(name, tarfile.REGTYPE)
            info.linkname = "/etc/passwd"
            info.size = len(content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(content))
    return path


BOTH = pytest.mark.parametrize("pack", [zipped, tarred])
Pack = Callable[..., Path]


def tree(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@BOTH
def test_the_listed_members_come_out_and_no_other(tmp_path: Path, pack: Pack) -> None:
    archive = pack(tmp_path / "archive", GOOD)
    written = unpack(archive, tmp_path / "set", TEXTS)
    assert tree(tmp_path / "set") == {"texts/a.txt": b"one", "texts/b.txt": b"two"}
    assert set(written) == {"texts/a.txt", "texts/b.txt"}
    assert written["texts/b.txt"].size == 3
    assert written["texts/b.txt"].sha256 == hashlib.sha256(b"two").hexdigest()


@BOTH
def test_without_strip_the_folders_stay(tmp_path: Path, pack: Pack) -> None:
    wanted = Unpack(into="all", members=("top/a.txt", "top/deep/*"), most=1000)
    unpack(pack(tmp_path / "archive", GOOD), tmp_path / "set", wanted)
    assert set(tree(tmp_path / "set")) == {"all/top/a.txt", "all/top/deep/c.txt"}


@BOTH
def test_an_older_folder_is_replaced_as_a_whole(tmp_path: Path, pack: Pack) -> None:
    old = tmp_path / "set" / "texts"
    old.mkdir(parents=True)
    (old / "left.txt").write_text("of an older release")
    unpack(pack(tmp_path / "archive", GOOD), tmp_path / "set", TEXTS)
    assert set(tree(tmp_path / "set")) == {"texts/a.txt", "texts/b.txt"}


def refused(archive: Path, tmp_path: Path, message: str, wanted: Unpack = TEXTS) -> None:
    """An archive is refused with a reason, and the folder is as it was, as is all around it."""
    old = tmp_path / "set" / "texts" / "old.txt"
    old.parent.mkdir(parents=True)
    old.write_text("as it was")
    before = tree(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        unpack(archive, tmp_path / "set", wanted)
    assert str(archive) in str(error.value)
    assert tree(tmp_path) == before


@BOTH
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../out.txt", "leads out"),
        ("top/../../out.txt", "leads out"),
        ("top/..", "leads out"),
        ("/tmp/out.txt", "absolute"),
        ("C:/out.txt", "absolute"),
        ("C:out.txt", "absolute"),
        ("\\\\host\\share", "absolute"),
        ("..\\out.txt", "leads out"),
        ("top\\d.txt", "an invalid name"),
        ("top/bell\x07.txt", "an invalid name"),
        (f"top/{'ä' * 128}.txt", "an invalid name"),
        ("top/A.TXT", "but for case"),
        ("top/a.txt ", None),
    ],
)
def test_names_that_mean_harm(tmp_path: Path, pack: Pack, name: str, message: str | None) -> None:
    wanted = Unpack(into="texts", members=("top/*.[tT][xX][tT]",), strip=1, most=1000)
    archive = pack(tmp_path / "archive", GOOD | {name: b"evil"})
    if message is None:  # strange, but neither listed nor harmful
        assert set(unpack(archive, tmp_path / "set", wanted)) == {"texts/a.txt", "texts/b.txt"}
    else:
        refused(archive, tmp_path, message, wanted)


@BOTH
def test_letters_composed_in_two_ways_are_one_name(tmp_path: Path, pack: Pack) -> None:
    archive = pack(tmp_path / "archive", {"top/é.txt": b"1", "top/e\u0301.txt": b"2"})
    refused(archive, tmp_path, "but for case")


@BOTH
def test_a_file_where_another_member_needs_a_folder(tmp_path: Path, pack: Pack) -> None:
    wanted = Unpack(into="texts", members=("top/*", "top/*/*"), strip=1, most=1000)
    archive = pack(tmp_path / "archive", {"top/a": b"1", "top/a/b": b"2"})
    refused(archive, tmp_path, "a file and a folder", wanted)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@BOTH
def test_one_name_twice(tmp_path: Path, pack: Pack) -> None:
    archive = pack(tmp_path / "archive", GOOD)
    if pack is zipped:
        with zipfile.ZipFile(archive, "a") as more:
            more.writestr("top/a.txt", b"another")
    else:
        plain = tmp_path / "archive"
        with tarfile.open(plain, "w") as more:
            for content in (b"one", b"another"):
                info = tarfile.TarInfo("top/a.txt")
                info.size = len(content)
                more.addfile(info, io.BytesIO(content))
    refused(archive, tmp_path, "the name of another")


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize(
    ("pack", "kind"),
    [
        (tarred, tarfile.SYMTYPE),
        (tarred, tarfile.LNKTYPE),
        (tarred, tarfile.CHRTYPE),
        (tarred, tarfile.BLKTYPE),
        (tarred, tarfile.FIFOTYPE),
        (zipped, stat.S_IFLNK),
        (zipped, stat.S_IFCHR),
        (zipped, stat.S_IFIFO),
    ],
)
def test_links_and_devices(tmp_path: Path, pack: Pack, kind: object, listed: bool) -> None:
    name = "top/z.txt" if listed else "other/z"
    archive = pack(tmp_path / "archive", GOOD | {name: b"/etc/passwd"}, kinds={name: kind})
    refused(archive, tmp_path, "a link or a device")


@BOTH
def test_a_member_written_through_a_link_of_the_same_archive(tmp_path: Path, pack: Pack) -> None:
    kind = tarfile.SYMTYPE if pack is tarred else stat.S_IFLNK
    archive = pack(
        tmp_path / "archive", {"top": b"/tmp", "top/a.txt": b"evil"}, kinds={"top": kind}
    )
    refused(archive, tmp_path, "a link or a device")


@BOTH
def test_a_bomb_is_not_unfolded(tmp_path: Path, pack: Pack) -> None:
    archive = pack(tmp_path / "archive", GOOD | {"top/big.txt": bytes(5_000_000)})
    assert archive.stat().st_size < 10_000
    refused(
        archive,
        tmp_path,
        "the unpacked files are too large",
        Unpack(**{**vars(TEXTS), "most": 10**9}),
    )


@BOTH
def test_more_than_the_list_allows(tmp_path: Path, pack: Pack) -> None:
    archive = pack(tmp_path / "archive", GOOD | {"top/big.txt": bytes(2000)})
    refused(archive, tmp_path, r"expected 1.0 kB at most, found 2.0 kB")


@pytest.mark.parametrize(("declared", "message"), [(9, "damaged archive"), (990, "declared")])
def test_a_member_of_another_length_than_it_declares(
    tmp_path: Path, declared: int, message: str
) -> None:
    archive = zipped(tmp_path / "archive", {"top/a.txt": b"x" * 900})
    content, true = archive.read_bytes(), (900).to_bytes(4, "little")
    assert content.count(true) == 2  # its own header, and the directory's
    archive.write_bytes(content.replace(true, declared.to_bytes(4, "little")))
    refused(archive, tmp_path, message)


def test_a_bomb_beside_the_listed_members_of_a_tar(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "archive", GOOD | {"other/big": bytes(5_000_000)})
    refused(
        archive, tmp_path, "the unpacked files are too large"
    )  # as reading past it would unfold it


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itm_book.datasets.archives.MAX_MEMBERS", 3)
    refused(zipped(tmp_path / "archive", GOOD), tmp_path, "too many members")


@BOTH
def test_a_listed_member_is_missing(tmp_path: Path, pack: Pack) -> None:
    wanted = Unpack(into="texts", members=("top/*.txt", "top/*.jpg"), strip=1, most=1000)
    archive = pack(tmp_path / "archive", GOOD)
    refused(archive, tmp_path, r"a listed member is missing; expected top/\*.jpg", wanted)


@BOTH
def test_a_broken_archive(tmp_path: Path, pack: Pack) -> None:
    noise = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(25))
    archive = pack(tmp_path / "archive", {"top/a.txt": noise})
    assert is_complete(archive)
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    assert not is_complete(archive)
    refused(archive, tmp_path, "damaged archive")


def test_a_flipped_bit_in_a_member(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "archive", {"top/a.txt": bytes(range(256))})
    content = bytearray(archive.read_bytes())
    content[100] ^= 1
    archive.write_bytes(bytes(content))
    refused(archive, tmp_path, "damaged archive")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "archive", {"top/é.txt": b"one"})
    archive.write_bytes(archive.read_bytes().replace("é".encode(), b"\xff\xfe"))
    assert not is_complete(archive)
    refused(archive, tmp_path, "damaged archive")


def test_an_encrypted_member(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "archive", {"top/a.txt": b"one"})
    content = bytearray(archive.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[6] |= 1
    content[directory + 8] |= 1
    archive.write_bytes(bytes(content))
    refused(archive, tmp_path, "is encrypted")
