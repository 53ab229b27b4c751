"""Tokens and ids, by the rule of the released loaders."""

from __future__ import annotations

import pickle
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm_core.data.vocabulary import Vocabulary, read_captions, token_spans, tokenise
from itm_core.errors import InputError


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A dog runs.", ["a", "dog", "runs", "."]),
        ("It isn't Bob's", ["it", "is", "n't", "bob", "'s"]),
        ("  two,three  ", ["two", ",", "three"]),
        ("CAFÉ AU LAIT", ["cafÉ", "au", "lait"]),  # only ASCII letters are lowered
        ("A man sits. A dog runs.", ["a", "man", "sits", ".", "a", "dog", "runs", "."]),
        ("a red-and-blue kite !", ["a", "red-and-blue", "kite", "!"]),
        ("", []),
    ],
)
def test_tokens(text: str, tokens: list[str]) -> None:
    assert tokenise(text) == tokens


@given(st.text(max_size=40))
def test_any_text_has_tokens_without_blanks(text: str) -> None:
    assert all(token.strip() for token in tokenise(text))


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("两只狗，在跑。", ["两", "只", "狗", "，", "在", "跑", "。"]),
        ("一个穿T恤的man", ["一", "个", "穿", "t", "恤", "的", "man"]),
        ("犬がバス", ["犬", "が", "バ", "ス"]),
        ("Ein Café, größer", ["ein", "café", ",", "größer"]),
    ],
)
def test_characters_of_chinese_and_japanese_are_words(caption: str, tokens: list[str]) -> None:
    assert tokenise(caption) == tokens
    spans = token_spans(caption)
    assert [caption[start:end].lower() for start, end in spans] == tokens


def test_words_seen_four_times_are_kept() -> None:
    vocabulary = Vocabulary.from_captions(["a dog"] * 4 + ["a cat"] * 3)
    assert "dog" in vocabulary
    assert "cat" not in vocabulary
    assert vocabulary.encode("a cat") == [1, vocabulary.ids["a"], 3, 2]
    assert vocabulary.words([1, 3]) == ["<start>", "<unk>"]


def test_unknown_words_are_those_that_share_an_id() -> None:
    vocabulary = Vocabulary.from_captions(["a red ball ."], threshold=1)
    caption = "A blue ball. Zebra"
    assert vocabulary.unknown(caption) == [False, True, False, False, True]
    shared = [i == vocabulary.ids["<unk>"] for i in vocabulary.encode(caption)[1:-1]]
    assert vocabulary.unknown(caption) == shared
    assert vocabulary.unknown("") == []


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    first = Vocabulary.from_captions(["a red ball"], threshold=1)
    first.save(tmp_path / "vocab.json")
    assert Vocabulary.load(tmp_path / "vocab.json").ids == first.ids


def test_a_vocabulary_does_not_change() -> None:
    ids = {"<start>": 1, "<end>": 2, "<unk>": 3, "dog": 40}
    vocabulary = Vocabulary(ids)
    ids["cat"] = 5
    assert vocabulary.encode("a cat, a dog") == [1, 3, 3, 3, 3, 40, 2]
    assert len(vocabulary) == 41
    with pytest.raises(TypeError):
        vocabulary.ids["cat"] = 5  # type: ignore[index]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"word2idx": {"<start>": 1, "<end>": 2}}', "no <unk>"),
        ('{"word2idx": {"<start>": 1, "<end>": 1, "<unk>": 3}}', "share an id"),
        ('{"word2idx": {"<start>": 1, "<end>": 2, "<unk>": "x"}}', "whole numbers"),
        ('{"word2idx": {"<start>": 1, "<end>": 2, "<unk>": [3]}}', "whole numbers"),
        ('{"word2idx": {"<start>": 1, "<end>": 2, "<unk>": true}}', "whole numbers"),
        ('{"word2idx": {"<start>": 1, "<end>": 2, "<unk>": 99}}', "expected 0 to 2 for 3 words"),
        (
            '{"word2idx": {"<start>": 1, "<end>": 2, "<unk>": 0}, "idx2word": {"0": "dog"}}',
            "disagree",
        ),
        ('{"words": []}', "word2idx"),
    ],
)
def test_a_broken_vocabulary_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        Vocabulary.load(path)


def test_only_line_feeds_end_a_caption(tmp_path: Path) -> None:
    path = tmp_path / "caps.txt"
    path.write_bytes("one\u2028still one\r\ntwo\x0bstill two\n".encode())
    assert read_captions(path) == ["one\u2028still one", "two\x0bstill two"]
    path.write_bytes(b"one\rstill one\n")
    assert read_captions(path) == ["one\rstill one"]
    path.write_bytes(b"\xef\xbb\xbfone\rtwo\r")
    assert read_captions(path) == ["one", "two"]
    path.write_bytes(b"")
    assert read_captions(path) == []


@pytest.mark.skipif(shutil.which("iconv") is None, reason="needs iconv")
@pytest.mark.parametrize("encoding", ["latin1", "utf-16", "utf-16le"])
def test_another_encoding_is_converted_by_the_line_of_its_message(
    tmp_path: Path, encoding: str
) -> None:
    """UTF-16 without a mark would be UTF-8 with a zero after each letter."""
    path = tmp_path / "my captions" / "caps.txt"
    path.parent.mkdir()
    path.write_bytes("a café\ntwo dogs\n".encode(encoding))
    with pytest.raises(
        InputError, match=rf"row 1: not UTF-8.*if {encoding} is what it is"
    ) as caught:
        read_captions(path)
    command, _, _ = str(caught.value).partition("Remedy: ")[2].partition(" > new.txt")
    path.write_bytes(subprocess.run(shlex.split(command), check=True, capture_output=True).stdout)
    assert read_captions(path) == ["a café", "two dogs"]


def test_zeros_at_the_end_of_a_broken_copy_are_no_caption(tmp_path: Path) -> None:
    path = tmp_path / "caps.txt"
    path.write_bytes(b"one dog\ntwo d\0\0\0\0\n")
    with pytest.raises(InputError, match="row 2: not UTF-8.*the file is damaged"):
        read_captions(path)


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("f30k's vocab.pkl", 0),
        ("f30k's vocab.pkl", 2),
        ("vocab.json", 4),
        ("\U0001f436 $(x).pkl", 2),
    ],
)
def test_a_pickled_vocabulary_is_converted_by_the_line_of_its_message(
    tmp_path: Path, name: str, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of VSRN and SCAN, whose module ``vocab`` is not here."""
    ids = {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3, "café": 4, 'it\'s "so"': 5}
    release = types.ModuleType("vocab")
    release.Vocabulary = type("Vocabulary", (), {"__module__": "vocab"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vocab", release)
    words = release.Vocabulary()
    words.word2idx, words.idx2word = ids, {i: word for word, i in ids.items()}
    path = tmp_path / name
    path.write_bytes(pickle.dumps(words, protocol))
    with pytest.raises(InputError, match="pickled vocabulary.*JSON with word2idx") as caught:
        Vocabulary.load(path)
    command = shlex.split(str(caught.value).partition("name it: ")[2])
    subprocess.run([sys.executable, *command[1:]], check=True)
    assert Vocabulary.load(path.with_suffix(".json")).ids == ids
    if path.suffix == ".pkl":  # the file that is there now is not replaced
        assert subprocess.run([sys.executable, *command[1:]], capture_output=True).returncode


@pytest.mark.parametrize("name", ["vocab.pkl", "vocab.json"])
def test_nothing_of_a_pickle_runs(tmp_path: Path, name: str) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / name).write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(InputError, match="a pickled vocabulary, which is not opened"):
        Vocabulary.load(tmp_path / name)
    assert not (tmp_path / "ran").exists()
