"""BERT's vocabulary: captions as pieces of words, through the transformers library."""

from __future__ import annotations

import shutil
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from itm_core.data.vocabulary import is_word
from itm_core.errors import InputError
from itm_core.extras import optional

HOW_TO_GET = (
    "`hf download bert-base-uncased --local-dir data/bert-base-uncased` and set "
    "encoder.bert=data/bert-base-uncased"
)


def transformers() -> Any:
    """Return the transformers library; raises `InputError` where it is not installed."""
    return optional("transformers", "BERT", extra="bert", then=HOW_TO_GET)


def bert_folder(folder: str | None) -> Path:
    """Return the folder of a BERT model; raises `InputError` when it holds none."""
    if folder is None:
        raise InputError("encoder.text_encoder=bert needs encoder.bert", remedy=HOW_TO_GET)
    path = Path(folder)
    for name in ("config.json", "vocab.txt"):
        if not (path / name).is_file():
            raise InputError("no BERT model here", file=path / name, remedy=HOW_TO_GET)
    return path


class WordPieces:
    """A stand-in for `vocabulary.Vocabulary` where words come in pieces.

    Args:
        folder: of a BERT model, with its ``vocab.txt``.
    """

    def __init__(self, folder: str | Path) -> None:
        """Raise `InputError` when there is no BERT model, or no transformers library."""
        self.folder = bert_folder(str(folder))

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

    @property
    def mask(self) -> int:
        """The id of ``[MASK]``."""
        return int(self._tokeniser.mask_token_id)

    def encode(self, caption: str) -> list[int]:
        """Return the ids of a caption's pieces between ``[CLS]`` and ``[SEP]``."""
        return list(self._tokeniser(caption)["input_ids"])

    def tokens(self, caption: str) -> list[str]:
        """Return the pieces of a caption, without ``[CLS]`` and ``[SEP]``."""
        return list(self._tokeniser.convert_ids_to_tokens(self.encode(caption)[1:-1]))

    def unknown(self, caption: str) -> list[bool]:
        """Return for each of a caption's `tokens` whether no pieces make it up."""
        return [i == self._tokeniser.unk_token_id for i in self.encode(caption)[1:-1]]

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
