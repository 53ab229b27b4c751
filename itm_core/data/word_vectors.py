"""Pretrained word vectors, read from files of ``word<space>floats`` lines.

``encoder.word_vectors`` is ``glove``, 300 numbers a word, which ``itm data get glove`` unpacks, or
a file: GloVe's .txt, or the .vec of fastText and word2vec, whose first line holds two counts.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from itm_core.data.vocabulary import SPECIAL, is_word
from itm_core.errors import InputError
from itm_core.files import reading

GLOVE = Path("data/glove/6B/glove.6B.300d.txt")


def vectors_file(name: str) -> Path:
    """Return the file of ``encoder.word_vectors``; raises `InputError` where there is none."""
    path = GLOVE if name == "glove" else Path(name)
    if not path.is_file():
        raise InputError(
            "no word vectors here",
            file=path,
            remedy="`itm data get glove`, or encoder.word_vectors=FILE of lines word number number",
        )
    return path


def read_vectors(path: Path, words: Collection[str], width: int) -> dict[str, np.ndarray]:
    """Return the vectors ``[width]`` float32 of those ``words`` that a file has.

    Other lines are skipped unread. Of a repeated word the first line counts.

    Words and numbers are separated by spaces or tabs.

    Raises `InputError` for vectors of another width, a line that is damaged, another file, and one
    that has none of the words.
    """
    vectors: dict[str, np.ndarray] = {}
    wanted = {word.encode(errors="replace"): word for word in words}  # half characters as ?
    with reading(path), path.open("rb") as file:
        rows = _without_header(path, file, width)
        for row, line in rows:
            word = wanted.get(next(iter(line.split(None, 1)), b""))
            if word is None or word in vectors:
                continue
            cells = line.split()[1:]
            if len(cells) > width:  # a phrase, such as ". . ." of the GloVe of 840 billion words
                continue
            vectors[word] = _floats(path, row, cells, width)
    if words and not any(is_word(word) and word not in SPECIAL for word in vectors):
        raise InputError(
            "none of the words is in this file",
            file=path,
            expected=f"lines of a word and {width} numbers",
            remedy="take vectors of the language of the captions, of words without a suffix",
        )
    return vectors


def _without_header(path: Path, lines: Iterator[bytes], width: int) -> Iterator[tuple[int, bytes]]:
    """Yield row and line of each word, after checking the width in the first rows."""
    first = list(islice(lines, 1))
    cells = first[0].split() if first else []
    header = len(cells) == 2 and all(cell.isdigit() for cell in cells)
    found = int(cells[1]) if header else len(cells) - 1
    first += islice(lines, 1)
    if len(first) > header and not _are_numbers(first[header].split()[1:]):
        raise InputError(
            "not a file of word vectors",
            file=path,
            row=header + 1,
            expected="a word and its numbers between spaces: a .txt of GloVe, a .vec of fastText",
            found=first[header][:60].decode(errors="replace").strip(),
            remedy="download the file itself (a small one may only point to it); a .bin is "
            "converted with save_word2vec_format of gensim",
        )
    if found != width:
        raise InputError(
            "word vectors of another width",
            file=path,
            expected=f"{width} numbers, as encoder.word_width",
            found=max(found, 0),
            remedy=f"set encoder.word_width={found}, or take another file" if found > 0 else None,
        )
    yield from enumerate(first[header:], header + 1)
    yield from enumerate(lines, 3)


def _are_numbers(cells: list[bytes]) -> bool:
    try:
        return bool(np.array(cells[-1:], np.float32).size)
    except ValueError:
        return False


def _floats(path: Path, row: int, cells: list[bytes], width: int) -> np.ndarray:
    try:
        vector = np.array(cells, np.float32)
    except ValueError:
        vector = np.zeros(0, np.float32)
    if len(vector) != width or not np.isfinite(vector).all():
        raise InputError(
            "not a line of a word and its vector",
            file=path,
            row=row,
            expected=f"a word and {width} numbers between spaces",
            found=b" ".join(cells[:3]).decode(errors="replace") + f" ... ({len(cells)})",
            remedy="if it is the last line, the file is truncated: download it again",
        )
    return vector
