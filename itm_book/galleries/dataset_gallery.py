"""A gallery of a split in the SCAN layout, searched in two stages; see `search.two_stage`.

``search.json`` names the matcher, the dataset and the ids. The dataset is needed for boxes and
pictures alone: without it results have no explanations.

Page: "Search at scale".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itm_book.checkpoints.imported_runs import ImportedRun, vocabulary_hash
from itm_book.datasets.run_features import run_features
from itm_book.folders import hashes_of, require_hashes
from itm_book.galleries.gallery_note import FILES, damaged, read_note, with_checksum
from itm_book.galleries.matcher_note import located, matcher_note, noted_matcher, relative
from itm_book.galleries.photograph_names import NOTE
from itm_book.galleries.results import GalleryHit, GalleryResult
from itm_book.pairs.pair_records import records_of
from itm_book.search.gallery_store import NOTE as STORE
from itm_book.search.sentences import require_sentence
from itm_book.search.two_stage import (
    CANDIDATES,
    FIRST,
    FITTED,
    INDEX,
    TwoStage,
    build_two_stage,
    encode_captions,
    evenly_spaced,
    open_two_stage,
)
from itm_core.data.dataset import Split, load_split
from itm_core.evaluation.scoring import chunked, score_fragments
from itm_core.experiments.run import Run
from itm_core.json_files import write_json

VOCABULARY = "vocabulary.json"  # of imported checkpoints that have none in their folder


def index_dataset(
    dataset: Path,
    folder: Path,
    run: Run,
    *,
    split: str = "test",
    kind: str = "float16",
    device: str = "cpu",
    progress: bool = False,
) -> TwoStage:
    """Return the index of a split of a dataset, and write what is missing of it.

    Raises `InputError` for features that the run was not trained on, and as `build_two_stage` does.
    """
    images = load_split(dataset, split)
    features = run_features(run, images)
    if (folder / NOTE).exists():  # what is there already is not built again
        hashes = read_note(folder).get(FILES, {})
        require_hashes(folder, {name: hashes[name] for name in hashes if (folder / name).exists()})
    search = build_two_stage(
        run.matcher(device),
        features,
        [] if (folder / FIRST).exists() else _fitted_captions(dataset, run),
        folder,
        kind=kind,
        vocabulary=vocabulary_hash(run.vocabulary) if run.imported else None,
        progress=progress,
    )
    if isinstance(run, ImportedRun) and run.words is not None:  # sentences need the same file
        run.words.save(folder / VOCABULARY)
    note = {
        "matcher": matcher_note(run, folder),
        "dataset": relative(dataset, folder),
        "split": split,
        "ids": images.ids,
        FILES: hashes_of(folder, (FIRST, INDEX, STORE, VOCABULARY)),
    }
    write_json(folder / NOTE, with_checksum(note))
    return search


def _fitted_captions(dataset: Path, run: Run) -> list[list[int]]:
    """Return the token ids of the training captions that a first stage is fitted to."""
    train = load_split(dataset, "train")
    chosen = evenly_spaced(len(train.captions), FITTED[1])
    return [run.vocabulary.encode(train.captions[place]) for place in chosen]


class DatasetGallery:
    """An indexed split of a dataset.

    Raises `InputError` when the index was made with another matcher, or a part is missing.
    """

    def __init__(self, folder: Path, matcher: str | None = None) -> None:
        note = read_note(folder)
        require_hashes(folder, note.get(FILES, {}))
        self.folder, words = folder, folder / VOCABULARY
        self.run = noted_matcher(
            note["matcher"], folder, chosen=matcher, words=words if words.exists() else None
        )
        self._search = open_two_stage(self.run.matcher(), folder)
        self.names = [[name] for name in note["ids"]]
        if len(self.names) != len(self._search.store):
            raise damaged(folder, f"{len(self.names)} ids for {len(self._search.store)} images")
        self._split = _split_of(note, folder)

    def __len__(self) -> int:
        return len(self.names)

    def search(
        self, sentence: str, top: int, candidates: int | None = None, *, small: bool = True
    ) -> GalleryResult:
        """Return the best images of a sentence, with explanations where the dataset is at hand.

        Raises `InputError` as `TwoStage.search` and `require_sentence` do.
        """
        unknown = require_sentence(self.run.vocabulary, sentence)
        words = encode_captions(self._search.matcher, [self.run.vocabulary.encode(sentence)])
        ranking = self._search.search(words, CANDIDATES if candidates is None else candidates, top)
        places, split = ranking.images[0].tolist(), self._split
        hits = [
            GalleryHit(place, float(score), self.names[place])
            for place, score in zip(places, ranking.scores[0], strict=True)
        ]
        if split is not None:
            pairs = [(place, sentence) for place in places]
            records = records_of(self.run, split, pairs, matcher=self._search.matcher, small=small)
            hits = [
                GalleryHit(
                    hit.place,
                    hit.score,
                    hit.names,
                    record,
                    None if split.boxes is None else split.boxes[hit.place],
                )
                for hit, record in zip(hits, records, strict=True)
            ]
        seconds = sum(ranking.seconds.values())
        return GalleryResult(sentence, unknown, hits, len(self), seconds)

    @torch.no_grad()
    def scores(self, sentences: Sequence[str]) -> np.ndarray:
        """Return the scores ``[I, C]`` float32 of every image with every sentence."""
        for sentence in sentences:
            require_sentence(self.run.vocabulary, sentence)
        matcher = self._search.matcher
        words = encode_captions(matcher, [self.run.vocabulary.encode(text) for text in sentences])
        blocks = self._search.store.blocks()
        scores = [score_fragments(matcher, chunked(block), words).numpy() for block in blocks]
        return np.concatenate(scores)

    def embeddings(self) -> np.ndarray:
        """Return the encoded regions ``[I, R, D]`` float32, as they are stored."""
        store = self._search.store
        embeddings = np.zeros(store.regions.shape, np.float32)
        start = 0
        for block in store.blocks():  # each as wide as its image of most regions
            images, regions, _ = block.vectors.shape
            embeddings[start : start + images, :regions] = block.vectors.numpy()
            start += images
        return embeddings

    def region_lens(self) -> np.ndarray | None:
        """Return how many regions each image has, ``[I]``; None where all have R."""
        return self._search.store.lens

    def boxes(self) -> np.ndarray | None:
        """Return the boxes ``[I, R, 4]`` of the dataset, or None."""
        return None if self._split is None else self._split.boxes


def _split_of(note: Mapping[str, Any], folder: Path) -> Split | None:
    """Return the split that was indexed; None where the dataset is not at hand, or has changed."""
    if not isinstance(note.get("dataset"), str) or not isinstance(note.get("split"), str):
        return None
    dataset = located(note["dataset"], folder)
    if not (dataset / f"{note['split']}_ims.npy").exists():
        return None
    split = load_split(dataset, note["split"])
    return split if split.ids == note["ids"] else None
