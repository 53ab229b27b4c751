"""CHAN's text pipeline and batches: token ids, what training drops, how a batch is put together."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from itm_book.parity.format import Difference, Stored, value_difference
from itm_core.data.vocabulary import Vocabulary, tokenise
from itm_core.data.word_pieces import WordPieces
from itm_core.evaluation.scoring import longest_first, pad
from itm_core.training.augmentation import drop_tokens, drop_words, keep_regions

RATE = 0.2
ORDER = "the release numbers words as they come, ours in alphabetical order"


def check_text(content: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield how many captions differ: tokens, ids, ids in training, vocabulary, BERT's pieces."""
    captions = content["captions"]
    vocabulary = Vocabulary(content["word2idx_on_disk"])
    yield _count("tokens", [tokenise(c) for c in captions], content["tokens"])
    ids = [vocabulary.encode(c) for c in captions]
    yield _count("eval_ids", ids, content["eval_ids"])
    yield _count("mask_index", [len(vocabulary)], [content["mask_index"]])
    yield _count("vocab_size_with_mask", [len(vocabulary) + 1], [content["vocab_size_with_mask"]])
    for k, pass_ in enumerate(content["train_ids"]):
        draw = Random(pass_["python_random_seed"])
        ours = [drop_tokens(t, RATE, len(vocabulary), draw, keep_special_tokens=False) for t in ids]
        yield _count(f"train_ids/{k}", ours, pass_["ids"])
    built = content["vocabulary_builder"]
    lines = [line for file in built["files"].values() for line in file]
    for threshold, words in built["word2idx_by_threshold"].items():
        ours_words = set(Vocabulary.from_captions(lines, int(threshold)).ids)
        missing = float(len(ours_words ^ set(words)))
        yield Difference(f"words seen {threshold} times", missing, 0.0)
        yield Difference(f"their ids at {threshold}", 0.0, 0.0, exempt=ORDER)
    yield from _check_regions(content["region_drop"])
    yield from _check_pieces(content["bert"], captions)


def _count(name: str, ours: list[Any], theirs: list[Any]) -> Difference:
    wrong = sum(a != b for a, b in zip(ours, theirs, strict=True))
    return Difference(name, float(wrong), 0.0)


def _check_regions(content: Mapping[str, Any]) -> Iterator[Difference]:
    draw = np.random.RandomState(content["numpy_random_seed"])
    theirs = content["kept_by_image_in_order"]
    ours = [keep_regions(content["regions"], content["rate"], draw).tolist() for _ in theirs]
    yield _count("region_drop", ours, theirs)


def _check_pieces(content: Mapping[str, Any], captions: list[str]) -> Iterator[Difference]:
    pieces: list[str] = content["pieces"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
        (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
        words = WordPieces(folder)
        ids = [words.encode(c) for c in captions]
        units = [words.units(c) for c in captions]
        yield _count("bert/eval_ids", ids, content["eval_ids"])
        for k, pass_ in enumerate(content["train_ids"]):
            draw = Random(pass_["python_random_seed"])
            ours = []
            for caption_ids, inner in zip(ids, units, strict=True):
                mask, every = words.mask, range(len(words))
                remaining = drop_words(inner, RATE, mask, every, draw) if inner else []
                ours.append([caption_ids[0], *remaining, caption_ids[-1]])
            yield _count(f"bert/train_ids/{k}", ours, pass_["ids"])


def check_collate(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of a batch: sorted by length (BiGRU), or in its order (BERT)."""
    count = len(stored.arrays["inputs/ids"])
    images = [stored.arrays[f"inputs/image_{k}"] for k in range(count)]
    captions = [stored.arrays[f"inputs/caption_{k}"].tolist() for k in range(count)]
    for kind in ("bigru", "bert"):
        order = longest_first(captions) if kind == "bigru" else np.arange(count)
        ids, lens = pad([captions[i] for i in order])
        features, region_lens = pad([images[i] for i in order], images[0].dtype)
        ours = {
            "captions": ids,
            "lengths": lens,
            "images": features,
            "image_lengths": region_lens,
            "ids": torch.from_numpy(stored.arrays["inputs/ids"][order]),
        }
        for name, value in ours.items():
            if f"outputs/{kind}/{name}" in stored.arrays:
                theirs = stored.tensor(f"outputs/{kind}/{name}")
                yield value_difference(f"{kind}/{name}", value, theirs)
