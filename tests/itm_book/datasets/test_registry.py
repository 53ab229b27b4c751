"""The registry of datasets: the shipped one is valid, and errors name the wrong entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from itm_book.datasets import registry
from itm_core.errors import InputError

GOOD = """
[toy]
title = "Toy"
what = "toys"
terms = "none"
by_hand = "ask"

[[toy.files]]
name = "a.zip"
what = "all of it"
size = 12
sha256 = "{hash}"
sources = ["https://example.org/a.zip"]

[toy.files.unpack]
into = "texts"
most = 100
members = ["*.txt"]
""".format(hash="0" * 64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.toml"


def test_a_good_list_is_read_whole(path: Path) -> None:
    path.write_text(GOOD)
    entry = registry.find("toy", path)
    assert (entry.name, entry.title, entry.then) == ("toy", "Toy", "")
    (file,) = entry.files
    assert file.known_hash == f"sha256:{'0' * 64}"
    assert file.sources == ("https://example.org/a.zip",)
    assert file.unpack == registry.Unpack(into="texts", most=100, members=("*.txt",))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Toy"', "", r"\[toy\]: missing title"),
        ('title = "Toy"', 'titel = "Toy"\ntitle = "T"', "unknown key.*one of name, title.*titel"),
        ("size = 12", 'size = "12"', r"\[toy\], a.zip: wrong value of size; .*integer, found '12'"),
        ("size = 12", "size = true", "wrong value of size; expected a valid integer, found True"),
        ("size = 12", "size = 0", "wrong value of size; expected greater than or equal to 1"),
        ("size = 12", "sise = 12", r"\[toy\], a.zip: unknown key of FileEntry.*found sise"),
        ("0" * 64, "0" * 63, "wrong value of sha256; expected 64 hexadecimal digits"),
        ("0" * 64, "A" * 64, "wrong value of sha256"),
        ('sha256 = "', 'md5 = "', "wrong value of md5; expected 32 hexadecimal digits"),
        ("https://", "ftp://", "wrong value of sources.0; expected an address with http://"),
        ("https://example.org", "file:///etc", "wrong value of sources.0; expected an address"),
        ("https://example.org", "http://[::1", "wrong value of sources.0; expected an address"),
        ("https://example.org", "http://a:b", "wrong value of sources.0; expected an address"),
        ("https://example.org", "http://a b", "wrong value of sources.0; expected an address"),
        ('what = "toys"', 'what = ""', "wrong value of what; expected a line of text"),
        ('"Toy"', '"\\u001b[31m"', "wrong value of title; expected a line of text"),
        ("size = 12", f"size = {10**400}", "wrong value of size; expected less than"),
        ("size = 12", f"size = {'9' * 5000}", "not readable as TOML"),
        ("size = 12", f"size = {'[' * 100_000}", "not readable as TOML"),
        ('name = "a.zip"', 'name = "../a.zip"', "wrong value of name; expected the name of a file"),
        ('name = "a.zip"', 'name = "hashes.json"', "expected the name of a file"),
        ('name = "a.zip"', 'name = ".arriving"', "expected the name of a file"),
        ('name = "a.zip"\n', "", r"\[toy\], file 1: missing name"),
        ('name = "a.zip"', 'name = "Texts"', "two files or folders have the same name"),
        (
            'into = "texts"',
            'into = "../texts"',
            r"a.zip, unpack: wrong value of into",
        ),
        ('members = ["*.txt"]', "members = []", "wrong value of members; .*at least 1 item"),
        ('members = ["*.txt"]', 'members = ["../*.txt"]', "members.0; expected a path within"),
        ('members = ["*.txt"]', 'members = ["/a.txt"]', "members.0; expected a path within"),
        ('members = ["*.txt"]', 'members = ["a.txt"]\nstrip = 1', "strip removes the whole name"),
        ('members = ["*.txt"]', "members = [1]", "wrong value of members.0; .*string, found 1"),
        ('members = ["*.txt"]', 'members = "*.txt"', "wrong value of members"),
        ("most = 100", "most = 0", "wrong value of most; expected greater than or equal to 1"),
        ("[toy]", "[Toy/x]", "not readable as TOML"),
        ("[toy]", '["../toy"]', "expected the name of a file|not a table|missing"),
    ],
)
def test_a_mistake_is_named(path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as error:
        registry.load(path)
    assert str(path) in str(error.value)


def test_without_a_source_someone_must_tell_how(path: Path) -> None:
    sourceless = GOOD.replace('sources = ["https://example.org/a.zip"]\n', "")
    path.write_text(sourceless)
    assert registry.find("toy", path).files[0].sources == ()
    path.write_text(sourceless.replace('by_hand = "ask"\n', ""))
    with pytest.raises(InputError, match=r"\[toy\]: a.zip has no source; expected sources"):
        registry.load(path)


def test_unknown_names_list_the_known_ones(path: Path) -> None:
    path.write_text(GOOD)
    with pytest.raises(InputError, match="expected one of toy, found toys"):
        registry.find("toys", path)
    with pytest.raises(InputError, match=r"no such file; expected one of a\.zip, found b\.zip"):
        registry.find("toy", path).chosen(["b.zip"])


def test_no_list(path: Path) -> None:
    with pytest.raises(InputError, match="the registry of datasets is missing"):
        registry.load(path)
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="not readable as TOML"):
        registry.load(path)


# --- the shipped list ---------------------------------------------------------------------------


def test_the_shipped_list_has_the_sets_of_the_field() -> None:
    sets = registry.load()
    assert set(sets) == {
        "f30k_precomp",
        "coco_precomp",
        "flickr8k",
        "flickr30k-entities",
        "glove",
        "bert-base-uncased",
        "resnet-50",
    }
    for entry in sets.values():
        assert entry.terms
        for file in entry.files:
            assert file.sources or entry.by_hand, (entry.name, file.name)
            assert not set(file.sources) & set(entry.gone)


def test_the_page_of_the_data_names_every_set() -> None:
    page = (registry.REGISTRY.parents[1] / "book" / "data.md").read_text(encoding="utf-8")
    for name, entry in registry.load().items():
        assert f"| `{name}` |" in page
        assert f"data/{name}/" in page
        folders = [file.unpack.into for file in entry.files if file.unpack]
        assert all(f"{folder}/" in page for folder in folders)


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("f30k_precomp", ["train", "dev", "test"]),
        ("coco_precomp", ["train", "dev", "test", "testall"]),
    ],
)
def test_region_features_are_listed_as_the_loader_wants_them(name: str, splits: list[str]) -> None:
    files = {file.name: file.optional for file in registry.find(name).files}
    for split in splits:
        assert files[f"{split}_ims.npy"] is False
        assert files[f"{split}_caps.txt"] is False
        assert files[f"{split}_ids.txt"] is True
    assert files["vocab.json"] is True


def test_bert_is_listed_as_its_loader_wants_it() -> None:
    from itm_core.encoders.bert import HOW_TO_GET, WEIGHTS

    entry = registry.find("bert-base-uncased")
    assert {"config.json", "vocab.txt", WEIGHTS[0]} == {file.name for file in entry.files}
    assert f"data/{entry.name}" in HOW_TO_GET
    assert f"--local-dir data/{entry.name}" in entry.by_hand
