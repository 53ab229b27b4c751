"""Kinds of words: by the dataset's truth, by the grammar of Scenes, or by a list."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from itm_book.chapters.regulators_in_motion.tables import KINDS, word_kinds
from itm_core.data.dataset import Split, load_dataset
from itm_core.data.vocabulary import Vocabulary
from tests.micro import write_dataset
from tests.scenes_pair import scenes


def test_on_scenes_every_word_has_the_kind_that_the_grammar_gives_it(
    scenes_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(scenes_folder / "scenes-tiny", tmp_path / "scenes-tiny")
    split = scenes(tmp_path)
    vocabulary = Vocabulary.load(split.folder / "vocab.json")
    split.captions[0] = "Two big crescents in front of a thing on a lawn ."
    path = split.folder / "test_words.json"
    named = json.loads(path.read_text())
    named[0] = [{"objects": [0, 1]}] * 3 + [None] * 9
    path.write_text(json.dumps(named))
    found = word_kinds(split, vocabulary)
    assert found[0] == [
        "start and end", "number", "size", "shape", "stop word", "relation or place",
        "stop word", "stop word", "other word", "stop word", "stop word", "ground",
        "punctuation", "start and end",
    ]  # fmt: skip
    assert {kind for kinds in found for kind in kinds} <= set(KINDS)
    truth = split.words()
    assert truth is not None
    for kinds, tokens in zip(found[1:], truth[1:], strict=True):
        named_kinds = [k in KINDS[:6] for k in kinds[1:-1]]
        assert named_kinds == [bool(t and t["objects"]) for t in tokens]


def test_elsewhere_the_truth_or_the_list_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = load_dataset(write_dataset(tmp_path / "micro")).test
    vocabulary = Vocabulary.from_captions(split.captions, threshold=1)
    split.captions[0] = "A red dog runs ."
    plain = ["start and end", "stop word", "other word", "other word", "other word"]
    assert word_kinds(split, vocabulary)[0] == [*plain, "punctuation", "start and end"]
    words = [[None] * len(vocabulary.tokens(caption)) for caption in split.captions]
    words[0][1:3] = [{"objects": [0]}] * 2  # type: ignore[list-item]
    monkeypatch.setattr(Split, "words", lambda _: words)
    assert word_kinds(split, vocabulary)[0][2:4] == ["object word"] * 2
    words[0].pop()  # the truth is about other tokens
    assert word_kinds(split, vocabulary)[0] == [*plain, "punctuation", "start and end"]
