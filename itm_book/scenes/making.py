"""Scenes, the embedded dataset: rendered pictures whose every content word is linked to an object.

A controlled experiment, the only dataset here on which the right alignment of every word is
known. Made from a seed, the same bytes on every machine, in the SCAN layout (`precomp`).

Page: The Scenes data card.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from tqdm.auto import tqdm

from itm_book.scenes import captions as scene_captions
from itm_book.scenes import regions as scene_regions
from itm_book.scenes.render import render
from itm_book.scenes.world import SIDE, Draws, relations, scene
from itm_core.data.vocabulary import Vocabulary
from itm_core.errors import InputError
from itm_core.files import read_json, reserve, space_checked, write_json

VERSION = 1
PRESETS = {  # images of train, dev and test
    "full": (4000, 500, 1000),
    "small": (500, 100, 250),
    "tiny": (120, 40, 60),
}
SPLITS = ("train", "dev", "test")
FINGERPRINTS = {  # of seed 0, on every machine
    "small": "93adbd486b91fca7ce0326ee4b5f3043e91a6a80b25915dc7c58fcb148727b20",
    "full": "c0628c263fdf84549154a6e673cbc26623f3e45b5630b4b50a82ad3752e161b6",
    "tiny": "c9d23586798d97f18ad563e0eef4b0d0889ca141fec911ee28ed2b2a9dd63019",
}
AT_ONCE = 50  # images a process makes before it hands them over


@dataclass(frozen=True)
class Made:
    """One image with everything that is written of it."""

    pixels: np.ndarray
    boxes: np.ndarray
    features: np.ndarray
    objects: list[dict[str, Any]]
    ground: str
    captions: list[scene_captions.Caption]


def make_image(seed: int, split: int, index: int) -> Made:
    """Return one image of a split, independent of all others."""
    what = scene(seed, split, index)
    picture = render(what, Draws(seed, split, index, 1))
    x, y, radius = (np.array([getattr(o, k) for o in what.objects]) for k in ("x", "y", "radius"))
    related = relations(x, y, radius, picture.front)
    said = scene_captions.captions(what, related, Draws(seed, split, index, 2))
    proposals = scene_regions.boxes(picture.boxes, Draws(seed, split, index, 3))
    features = scene_regions.features(picture.pixels, proposals, Draws(seed, split, index, 4))
    objects = [
        {**asdict(o), "box": box, "covers": np.flatnonzero(front).tolist()}
        for o, box, front in zip(what.objects, picture.boxes.tolist(), picture.front, strict=True)
    ]
    return Made(picture.pixels, proposals, features, objects, what.ground, said)


def make_scenes(
    folder: Path | str,
    *,
    preset: str = "full",
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Return the folder of the dataset, making it unless it is there already.

    Args:
        preset: ``full`` (4,000 / 500 / 1,000 images), ``small`` or ``tiny``.
        seed: another seed is another dataset.
        workers: processes; one for each core by default.

    Raises `InputError` for an unknown preset, a folder that holds something else, a full disk,
    or a result that is not the pinned one.
    """
    folder = Path(folder)
    if preset not in PRESETS:
        raise InputError("unknown preset", expected=f"one of {', '.join(PRESETS)}", found=preset)
    wanted = {"version": VERSION, "preset": preset, "seed": seed}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):  # a second process waits, then loads
        if not _is_there(folder, wanted):
            _make(folder, wanted, workers, progress)
    return folder


def _make(folder: Path, wanted: dict[str, Any], workers: int | None, progress: bool) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    partial.mkdir()
    preset, seed = wanted["preset"], wanted["seed"]
    try:
        with space_checked(folder):
            hashes = _write_all(partial, preset, seed, workers, progress)
        combined = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
        _as_pinned(folder, preset, seed, combined)
        write_json(partial / "scenes.json", {**wanted, "fingerprint": combined, "files": hashes})
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_there(folder: Path, wanted: dict[str, Any]) -> bool:
    note = folder / "scenes.json"
    if not note.exists():
        if folder.exists() and any(folder.iterdir()):
            raise InputError(
                "this folder holds something else",
                file=folder,
                found="no scenes.json in it",
                remedy="name another folder, or delete this one",
            )
        return False
    found = {key: read_json(note).get(key) for key in wanted}
    if found != wanted:
        raise InputError(
            "this folder holds another Scenes dataset",
            file=folder,
            expected=wanted,
            found=found,
            remedy="name another folder, or delete this one",
        )
    return True


def _as_pinned(folder: Path, preset: str, seed: int, combined: str) -> None:
    pinned = FINGERPRINTS.get(preset) if seed == 0 else None
    if pinned and pinned != combined:
        raise InputError(
            "the dataset came out different on this machine",
            file=folder,
            expected=pinned,
            found=combined,
            remedy="please report machine and NumPy version",
        )


def _write_all(
    folder: Path, preset: str, seed: int, workers: int | None, progress: bool
) -> dict[str, str]:
    hashes: dict[str, str] = {}
    texts: list[str] = []
    total = sum(PRESETS[preset])
    with (
        ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool,
        tqdm(total=total, desc="Scenes", unit="image", disable=not progress) as bar,
    ):
        for number, (name, images) in enumerate(zip(SPLITS, PRESETS[preset], strict=True)):
            jobs = [(seed, number, start, images) for start in range(0, images, AT_ONCE)]
            writer = _Writer(folder, name, images)
            for made in pool.map(_chunk, jobs):
                writer.add(made)
                bar.update(len(made))
            hashes |= writer.close()
            texts += writer.texts
    Vocabulary.from_captions(texts, threshold=1).save(folder / "vocab.json")
    hashes["vocab.json"] = _hash((folder / "vocab.json").read_bytes())
    return hashes


def _chunk(job: tuple[int, int, int, int]) -> list[Made]:
    seed, split, start, images = job
    return [make_image(seed, split, i) for i in range(start, min(start + AT_ONCE, images))]


def _hash(content: Any) -> str:
    return hashlib.sha256(content).hexdigest()


class _Writer:
    """Writes one split piece by piece."""

    def __init__(self, folder: Path, name: str, images: int) -> None:
        self.folder, self.name, self.filled = folder, name, 0
        regions = scene_regions.REGIONS
        self.arrays = {
            "ims": self._open("ims", np.float32, (images, regions, scene_regions.WIDTH)),
            "boxes": self._open("boxes", np.float32, (images, regions, 4)),
            "pictures": self._open("pictures", np.uint8, (images, SIDE, SIDE, 3)),
            "img_sizes": self._open("img_sizes", np.int32, (images, 2)),
        }
        self.arrays["img_sizes"][:] = SIDE
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.objects: list[dict[str, Any]] = []
        self.words: list[list[dict[str, list[int]] | None]] = []
        self.meanings: list[dict[str, Any]] = []

    def _open(self, kind: str, dtype: type, shape: tuple[int, ...]) -> np.memmap:
        path = self.folder / f"{self.name}_{kind}.npy"
        array = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape)
        reserve(path)
        return array

    def add(self, images: list[Made]) -> None:
        """Write the next images."""
        rows = slice(self.filled, self.filled + len(images))
        for kind, values in (
            ("ims", [m.features for m in images]),
            ("boxes", [m.boxes for m in images]),
            ("pictures", [m.pixels for m in images]),
        ):
            self.arrays[kind][rows] = np.stack(values)
        for image in images:
            self.ids += [f"{self.name}{len(self.objects):05d}"] * len(image.captions)
            self.objects.append({"ground": image.ground, "objects": image.objects})
            for caption in image.captions:
                self.texts.append(caption.text)
                self.words.append([_named(objects) for _, objects in caption.tokens])
                self.meanings.append(asdict(caption.meaning))
        self.filled = rows.stop

    def close(self) -> dict[str, str]:
        """Write the texts and return the hash of every file's content."""
        files = {
            f"{self.name}_caps.txt": "".join(f"{text}\n" for text in self.texts),
            f"{self.name}_ids.txt": "".join(f"{name}\n" for name in self.ids),
            f"{self.name}_objects.json": json.dumps(self.objects),
            f"{self.name}_words.json": json.dumps(self.words),
            f"{self.name}_meanings.json": json.dumps(self.meanings),
        }
        hashes = dict(self._hashed_arrays())
        for name, text in files.items():
            (self.folder / name).write_text(text, encoding="utf-8")
            hashes[name] = _hash(text.encode())
        return hashes

    def _hashed_arrays(self) -> Iterator[tuple[str, str]]:
        """Hashes of the values: the header of an .npy may differ between versions of NumPy."""
        for kind, array in self.arrays.items():
            array.flush()
            yield f"{self.name}_{kind}.npy", _hash(np.ascontiguousarray(array))


def _named(objects: tuple[int, ...] | None) -> dict[str, list[int]] | None:
    return None if objects is None else {"objects": list(objects)}
