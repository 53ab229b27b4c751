"""What kind of word each token of a caption is: does it name a thing, say how it looks, or nothing?

Where the dataset knows which tokens name an object, that decides; on Scenes the grammar also says
which attribute a word is. Elsewhere a list of empty words is all there is.

Page: "Regulators in motion".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from itm_book.scenes.captions import PLURALS, SAID_OF_GROUND, SAID_OF_PLACE, SAID_OF_RELATION, WORDS
from itm_book.scenes.controls import meanings
from itm_core.data.dataset import Split
from itm_core.data.vocabulary import EMPTY_WORDS
from itm_core.experiments.prepare import Words

NAMING = ("shape", "colour", "size", "texture", "number", "names a thing")
KINDS = (
    *NAMING,
    "relation or place",
    "ground",
    "other word",
    "empty word",
    "punctuation",
    "start and end",
)


def word_kinds(split: Split, vocabulary: Words) -> list[list[str]]:
    """Return for every caption the kind of each token, one of `KINDS`.

    ``<start>`` and ``<end>`` are the first and the last. Where a method cuts captions into other
    tokens than the dataset's truth, that truth is left aside.
    """
    named, scenes = split.words(), meanings(split) is not None
    grammar = _grammar() if scenes else {}
    found = []
    for k, caption in enumerate(split.captions):
        tokens = vocabulary.tokens(caption)
        truth = named[k] if named is not None and len(named[k]) == len(tokens) else None
        names = [bool(t and t.get("objects")) for t in truth or [None] * len(tokens)]
        kinds = [_kind(*pair, grammar) for pair in zip(tokens, names, strict=True)]
        found.append(["start and end", *kinds, "start and end"])
    return found


def _kind(token: str, names: bool, grammar: Mapping[str, str]) -> str:
    said = grammar.get(token, "")
    if names:
        return said if said in NAMING else "names a thing"
    if not any(letter.isalnum() for letter in token):
        return "punctuation"
    if token in EMPTY_WORDS:
        return "empty word"
    return "other word" if said in NAMING else said or "other word"


def _grammar() -> dict[str, str]:
    """Return what kind of word each word of the grammar of Scenes is."""
    found = _each(SAID_OF_GROUND, "ground")
    found |= _each(SAID_OF_PLACE, "relation or place") | _each(
        SAID_OF_RELATION, "relation or place"
    )
    found |= {"between": "relation or place", "two": "number"}
    for attribute, values in WORDS.items():
        for word in (word for words in values.values() for word in words):
            found |= {word: attribute}
            if attribute == "shape":
                found[PLURALS.get(word, f"{word}s")] = attribute
    return found


def _each(said: Mapping[str, str | Sequence[str]], kind: str) -> dict[str, str]:
    """Return the kind for every word of some phrases."""
    phrases = [[p] if isinstance(p, str) else p for p in said.values()]
    return {word: kind for some in phrases for phrase in some for word in phrase.split()}
