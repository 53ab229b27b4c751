"""Tokenisation of captions and vocabularies, as in the SCAN family's releases."""

from __future__ import annotations

import codecs
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from itm_core.errors import InputError
from itm_core.files import not_utf8, reading
from itm_core.json_files import read_json, write_json

if TYPE_CHECKING:
    from nltk.tokenize.api import TokenizerI

PAD, START, END, UNKNOWN = SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")
THRESHOLD = 4  # least number of occurrences of a word, as in the SCAN family
EMPTY_WORDS = frozenset(
    "a an and are as at be by for from has have he her his in into is it its of on or she some "
    "that the their there they this through to up was were while who with".split()
)
# Chinese characters, Japanese syllables, and rarer Chinese characters
_CHARACTER_WORDS = re.compile(
    "[\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def tokenise(caption: str) -> list[str]:
    """Return the tokens of a caption, lower-cased.

    The released loaders lower-case bytes, so only ASCII letters change; then sentences are
    split (here with nltk's untrained splitter, which needs no download) and words by
    `NLTKWordTokenizer`, the class behind nltk's ``word_tokenize``. Chinese and Japanese have no
    spaces between words: there every character is a token, as in BERT's tokeniser.

    >>> tokenise("A dog isn't RED.")
    ['a', 'dog', 'is', "n't", 'red', '.']
    >>> tokenise("一只狗在T恤上。")
    ['一', '只', '狗', '在', 't', '恤', '上', '。']
    """
    if not caption.isascii():
        caption = _CHARACTER_WORDS.sub(r" \g<0> ", caption)
    return list(_tokens(caption.strip(" \t\n\r\x0b\x0c").translate(_LOWER)))


def token_spans(caption: str) -> list[tuple[int, int]]:
    """Return where each of a caption's `tokenise` tokens starts and ends in it.

    >>> token_spans("A dog isn't RED.")
    [(0, 1), (2, 5), (6, 8), (8, 11), (12, 15), (15, 16)]
    """
    text, spans, end = caption.translate(_LOWER), [], 0
    for token in tokenise(caption):
        start = end + len(text[end:]) - len(text[end:].lstrip())
        # the tokeniser writes a double quote as two characters
        end = start + (len(token) if text.startswith(token, start) else 1)
        spans.append((start, end))
    return spans


def is_word(token: str) -> bool:
    """Return whether a token has a letter or a digit; punctuation has none."""
    return any(map(str.isalnum, token))


@lru_cache(maxsize=200_000)
def _tokens(text: str) -> tuple[str, ...]:
    sentences, words = _tokenisers()
    return tuple(word for sentence in sentences.tokenize(text) for word in words.tokenize(sentence))


@cache
def _tokenisers() -> tuple[TokenizerI, TokenizerI]:
    """Return the splitters of sentences and of words."""
    # here, because nltk takes more than a second to import, and much tokenises nothing
    from nltk.tokenize import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    return PunktSentenceTokenizer(), NLTKWordTokenizer()


class Vocabulary:
    """The id of every word (immutable); unknown words get the id of ``<unk>``.

    >>> words = Vocabulary.from_captions(["a red ball"], threshold=1)
    >>> words.encode("a blue ball")
    [1, 4, 3, 5, 2]
    """

    def __init__(self, ids: Mapping[str, int], file: Path | None = None) -> None:
        """Raise `InputError` for a missing special word, a repeated id, or an invalid one."""
        for word in (START, END, UNKNOWN):
            if word not in ids:
                raise InputError(
                    f"the vocabulary has no {word}",
                    file=file,
                    remedy="remove the file to build one from the training captions",
                )
        invalid = next((w for w, i in ids.items() if type(i) is not int or i < 0), None)
        if invalid is not None:
            found = f"{ids[invalid]!r} for {invalid!r}"
            raise InputError("ids of words must be whole numbers from 0", file=file, found=found)
        if len(set(ids.values())) != len(ids):
            repeated = next(i for i, n in Counter(ids.values()).items() if n > 1)
            words = [word for word, i in ids.items() if i == repeated]
            found = f"{repeated} for {words[0]!r} and {words[1]!r}"
            raise InputError("two words of the vocabulary share an id", file=file, found=found)
        self._ids = MappingProxyType(dict(ids))

    @property
    def ids(self) -> Mapping[str, int]:
        """The id of every word (read only)."""
        return self._ids

    def __len__(self) -> int:
        """Return the number of rows that a word embedding needs."""
        return max(self._ids.values()) + 1

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    @cached_property
    def _word_of(self) -> dict[int, str]:
        return {i: word for word, i in self._ids.items()}

    def encode(self, caption: str) -> list[int]:
        """Return the ids of a caption's tokens between ``<start>`` and ``<end>``."""
        unknown = self._ids[UNKNOWN]
        inner = [self._ids.get(token, unknown) for token in tokenise(caption)]
        return [self._ids[START], *inner, self._ids[END]]

    def tokens(self, caption: str) -> list[str]:
        """Return the tokens of a caption, without ``<start>`` and ``<end>``."""
        return tokenise(caption)

    def unknown(self, caption: str) -> list[bool]:
        """Return for each of a caption's `tokens` whether the vocabulary lacks it."""
        return [token not in self._ids for token in tokenise(caption)]

    def unknown_words(self, caption: str) -> list[str]:
        """Return the words of a caption that the vocabulary lacks, each once."""
        unknown = (t for t in tokenise(caption) if is_word(t) and t not in self._ids)
        return list(dict.fromkeys(unknown))

    def words(self, ids: Iterable[int]) -> list[str]:
        """Return the words of ``ids``; raises KeyError for an id that no word has."""
        return [self._word_of[i] for i in ids]

    @classmethod
    def from_captions(cls, captions: Sequence[str], threshold: int = THRESHOLD) -> Vocabulary:
        """Return the four special words, then those that occur ``threshold`` times, sorted."""
        counts = Counter(token for caption in captions for token in tokenise(caption))
        words = sorted(w for w, n in counts.items() if n >= threshold and w not in SPECIAL)
        return cls({word: i for i, word in enumerate([*SPECIAL, *words])})

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Return the vocabulary in a JSON file of the SCAN release's layout.

        Raises `InputError` when the file is broken, is a pickle, lacks ``word2idx``, leaves ids out
        (an embedding has a row for each), or contradicts itself in ``idx2word``.
        """
        _no_pickle(path)
        content = read_json(path)
        ids = content.get("word2idx")
        if not isinstance(ids, dict):
            raise InputError("not a vocabulary", file=path, expected="a word2idx object")
        vocabulary = cls(ids, path)
        if max(ids.values()) >= len(ids):
            raise InputError(
                "ids of the vocabulary have gaps",
                file=path,
                expected=f"0 to {len(ids) - 1} for {len(ids)} words",
                found=f"ids up to {max(ids.values())}",
            )
        backward = content.get("idx2word")
        if isinstance(backward, dict) and backward != _backward(ids):
            raise InputError("word2idx and idx2word disagree", file=path, remedy="remove idx2word")
        return vocabulary

    def save(self, path: Path) -> None:
        """Write the vocabulary in the SCAN release's layout."""
        ids = dict(self._ids)
        write_json(path, {"word2idx": ids, "idx2word": _backward(ids), "idx": len(self)})


def _no_pickle(path: Path) -> None:
    """Raise `InputError` for a pickled vocabulary, with the command that converts it."""
    with reading(path), path.open("rb") as file:
        pickled = file.read(1) == b"\x80" or path.suffix.lower() in (".pkl", ".pickle")
    if not pickled:
        return
    made = path.with_suffix(".json")
    # the release's class `vocab.Vocabulary` holds two dictionaries; an empty class takes them
    program = (
        "import json, pickle, sys, types; "
        'm = types.ModuleType("vocab"); m.Vocabulary = type("Vocabulary", (), {}); '
        'sys.modules["vocab"] = m; '
        'v = pickle.load(open(sys.argv[1], "rb"), encoding="utf-8"); '
        's = json.dumps({"word2idx": v.word2idx}); '
        f'open(sys.argv[2], "{"w" if made == path else "x"}").write(s)'  # x replaces no file
    )
    line = shlex.join(["python", "-c", program, str(path), str(made)])
    raise InputError(
        "a pickled vocabulary, which is not opened: opening runs whatever program is in it",
        file=path,
        expected="JSON with word2idx",
        remedy=f"if you trust where it is from, write {made.name} once, and name it: {line}",
    )


def _backward(ids: Mapping[str, int]) -> dict[str, str]:
    return {str(i): word for word, i in ids.items()}


def read_captions(path: Path) -> list[str]:
    """Return the captions of a file, one per line feed (no other character ends a line).

    A byte order mark and carriage returns at line ends are removed; in a file without line feeds,
    carriage returns end the lines. Raises `InputError` when the file is missing or may not be
    read, or a line is not UTF-8 or has zeros in it, as UTF-16 and the rest of a broken copy have.
    """
    with reading(path, "captions not found", "check the name, and the folder it starts from"):
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    lines = content.split(b"\n" if b"\n" in content else b"\r")
    if lines[-1] == b"":
        lines.pop()
    captions = []
    for row, line in enumerate(lines, 1):
        try:
            captions.append(_text(line).rstrip("\r"))
        except ValueError as error:
            raise not_utf8(path, row, content, line, error) from None
    return captions


def _text(line: bytes) -> str:
    """Return a line of UTF-8; raises ValueError for another one, and for one with zeros."""
    if b"\0" in line:
        raise ValueError("bytes that are zero, which no text has")
    return line.decode("utf-8")
