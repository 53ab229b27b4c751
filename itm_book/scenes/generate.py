"""Generate Scenes: rendered images with captions whose content words are linked to objects.

The only dataset here with ground-truth alignment of every word. Deterministic for a seed, byte by
byte on every machine, and stored in the SCAN layout (``precomp``).

Page: "Scenes, the dataset card".
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itm_book.folders import require_name, reserve
from itm_book.scenes import captions as scene_captions
from itm_book.scenes import regions as scene_regions
from itm_book.scenes.render import render
from itm_book.scenes.world import SIDE, Draws, relations, scene
from itm_core.data.vocabulary import Vocabulary
from itm_core.errors import InputError, did_you_mean
from itm_core.files import locked, make_folder, put, space_checked
from itm_core.json_files import read_json, write_json
from itm_core.parallel import run_parallel
from itm_core.settings import seed_of

VERSION = 1
PRESETS = {  # images of train, dev and test
    "full": (4000, 500, 1000),
    "small": (500, 100, 250),
    "tiny": (120, 40, 60),
}
SPLITS = ("train", "dev", "test")
FINGERPRINTS = {  # SHA-256 for seed 0
    "small": "93adbd486b91fca7ce0326ee4b5f3043e91a6a80b25915dc7c58fcb148727b20",
    "full": "c0628c263fdf84549154a6e673cbc26623f3e45b5630b4b50a82ad3752e161b6",
    "tiny": "c9d23586798d97f18ad563e0eef4b0d0889ca141fec911ee28ed2b2a9dd63019",
}
CHUNK_SIZE = 50  # images per job of a worker process


@dataclass(frozen=True)
class SceneSample:
    """One image with its regions, captions and ground truth."""

    pixels: np.ndarray
    boxes: np.ndarray
    features: np.ndarray
    objects: list[dict[str, Any]]
    ground: str
    captions: list[scene_captions.Caption]


def make_image(seed: int, split: int, index: int) -> SceneSample:
    """Return one image of a split; it depends on ``seed``, ``split`` and ``index`` alone."""
    layout = scene(seed, split, index)
    picture = render(layout, Draws(seed, split, index, 1))
    x, y, radius = (np.array([getattr(o, k) for o in layout.objects]) for k in ("x", "y", "radius"))
    related = relations(x, y, radius, picture.front)
    captions = scene_captions.captions(layout, related, Draws(seed, split, index, 2))
    proposals = scene_regions.boxes(picture.boxes, Draws(seed, split, index, 3))
    features = scene_regions.features(picture.pixels, proposals, Draws(seed, split, index, 4))
    objects = [
        {**asdict(o), "box": box, "covers": np.flatnonzero(front).tolist()}
        for o, box, front in zip(layout.objects, picture.boxes.tolist(), picture.front, strict=True)
    ]
    return SceneSample(picture.pixels, proposals, features, objects, layout.ground, captions)


def make_scenes(
    folder: Path | str,
    *,
    preset: str = "full",
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Return the folder of the dataset; generates the dataset unless it exists.

    Args:
        preset: ``full`` (4,000 / 500 / 1,000 images), ``small`` or ``tiny``.
        seed: another seed is another dataset.
        workers: number of processes; by default one per core.
        progress: show a progress bar.

    Raises `InputError` for an unknown preset, a wrong seed, a folder with other content, a full
    disk, or a dataset whose hash differs from `FINGERPRINTS`.
    """
    folder, seed = require_name(folder), seed_of(seed)
    if preset not in PRESETS:
        raise InputError(
            "unknown preset",
            expected=f"one of {', '.join(PRESETS)}",
            found=preset,
            remedy=did_you_mean(preset, PRESETS),
        )
    wanted = {"version": VERSION, "preset": preset, "seed": seed}
    make_folder(folder if folder.exists() else folder.parent)
    with locked(folder.with_name(f".{folder.name}.lock")):  # a second process waits, then loads
        if not _is_complete(folder, wanted):
            _make(folder, wanted, workers, progress)
    return folder


def _make(folder: Path, wanted: dict[str, Any], workers: int | None, progress: bool) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
    partial.mkdir()
    preset, seed = wanted["preset"], wanted["seed"]
    try:
        with space_checked(folder):
            hashes = _write_all(partial, preset, seed, workers, progress)
        combined = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
        _check_fingerprint(folder, preset, seed, combined)
        write_json(partial / "scenes.json", {**wanted, "fingerprint": combined, "files": hashes})
        put(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _is_complete(folder: Path, wanted: dict[str, Any]) -> bool:
    note = folder / "scenes.json"
    if not note.exists():
        if folder.exists() and any(folder.iterdir()):
            raise InputError(
                "the folder is not empty and has no Scenes dataset",
                file=folder,
                expected="an empty folder, or one with scenes.json",
                found="no scenes.json",
                remedy="name another folder, or delete this one",
            )
        return False
    existing = {key: read_json(note).get(key) for key in wanted}
    if existing != wanted:
        raise InputError(
            "the folder has another Scenes dataset",
            file=folder,
            expected=wanted,
            found=existing,
            remedy="name another folder, or delete this one",
        )
    return True


def _check_fingerprint(folder: Path, preset: str, seed: int, combined: str) -> None:
    pinned = FINGERPRINTS.get(preset) if seed == 0 else None
    if pinned and pinned != combined:
        raise InputError(
            "the hash of the generated dataset is not the expected one",
            file=folder,
            expected=pinned,
            found=combined,
            remedy="report the machine and the NumPy version",
        )


def _write_all(
    folder: Path, preset: str, seed: int, workers: int | None, progress: bool
) -> dict[str, str]:
    hashes: dict[str, str] = {}
    texts: list[str] = []
    jobs = [
        (seed, number, start, images)
        for number, images in enumerate(PRESETS[preset])
        for start in range(0, images, CHUNK_SIZE)
    ]
    title = f"Scenes, {CHUNK_SIZE} images each"
    chunks = run_parallel(
        _chunk, jobs, workers=workers, title=title, unit="chunk", progress=progress
    )
    for name, images in zip(SPLITS, PRESETS[preset], strict=True):
        writer = _Writer(folder, name, images)
        while writer.filled < images:
            writer.add(next(chunks))
        hashes |= writer.close()
        texts += writer.texts
    Vocabulary.from_captions(texts, threshold=1).save(folder / "vocab.json")
    hashes["vocab.json"] = _hash((folder / "vocab.json").read_bytes())
    return hashes


def _chunk(job: tuple[int, int, int, int]) -> list[SceneSample]:
    seed, split, start, images = job
    return [make_image(seed, split, i) for i in range(start, min(start + CHUNK_SIZE, images))]


def _hash(content: Any) -> str:
    return hashlib.sha256(content).hexdigest()


class _Writer:
    """Writes one split, chunk by chunk."""

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

    def add(self, images: list[SceneSample]) -> None:
        """Append images to the split."""
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
                self.words.append([_word_entry(objects) for _, objects in caption.tokens])
                self.meanings.append(asdict(caption.meaning))
        self.filled = rows.stop

    def close(self) -> dict[str, str]:
        """Write the text files and return the hash of every file of the split."""
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
        """Yield the hash of each array's values; .npy headers may differ between NumPy versions."""
        for kind, array in self.arrays.items():
            array.flush()
            yield f"{self.name}_{kind}.npy", _hash(np.ascontiguousarray(array))


def _word_entry(objects: tuple[int, ...] | None) -> dict[str, list[int]] | None:
    return None if objects is None else {"objects": list(objects)}
