"""Validation of the sentences that images are searched with.

Page: "Search at scale", "Your pictures".
"""

from __future__ import annotations

from itm_core.data.caption_lines import LONGEST_CAPTION
from itm_core.data.unknown_words import Words
from itm_core.data.vocabulary import is_word
from itm_core.errors import InputError


def require_sentence(words: Words, sentence: str) -> list[str]:
    """Return the unknown words of a sentence to search with, each once.

    Raises `InputError` for a sentence without a word, with more than `LONGEST_CAPTION` tokens, or
    without any word that is known. Punctuation does not count as a word.
    """
    tokens, unknown_flags = words.tokens(sentence), words.unknown(sentence)
    pairs = zip(tokens, unknown_flags, strict=True)
    known_flags = [not unknown for token, unknown in pairs if is_word(token)]
    if not known_flags or len(tokens) > LONGEST_CAPTION:
        raise InputError(
            "the sentence is too long" if known_flags else "no sentence to search with",
            expected=f"1 to {LONGEST_CAPTION} words",
            found=len(tokens) if known_flags else repr(sentence),
            remedy="describe a picture in a few words, such as: a red ball on the grass",
        )
    unknown = words.unknown_words(sentence)
    if not any(known_flags):
        raise InputError(
            "no word of the sentence is in the vocabulary, so images would be ranked at random",
            expected="at least one word of its training captions",
            found=f"unknown: {', '.join(unknown)}",
            remedy="use other words, or a run that was trained on captions with these",
        )
    return unknown
