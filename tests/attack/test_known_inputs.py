"""Bad inputs that once gave a traceback, a result, or a message after hours: what they give now.

Each line of `KNOWN` changes one file of the folder (or none) and names a command, which must refuse
it before anything is written; the message names the file or the value.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.attack.attempts import Tree, faults, run_command
from tests.attack.campaign import arena
from tests.attack.place import OVERRIDES, TRAIN
from tests.attack.values import NESTED

Change = Callable[[Path], Any]

NEW = f"{TRAIN} --dataset data/micro --root new {' '.join(OVERRIDES)}"
SCORE = "score run data/micro --out scores --device cpu"
EXPORT = "results export grid.yml --size tiny --data data --root runs --record records/runs.csv"
DRY = "grid grid.yml --size tiny --dry-run"
SEARCH, INDEX = "search vectors dog", "index data/micro more --run run"
COCOBU = "data convert cocobu/cocobu_att made --captions karpathy.json --boxes cocobu/cocobu_box"


def text(content: str) -> Change:
    """Write a text, also one that is no UTF-8."""
    return lambda path: path.write_text(content, encoding="utf-8", errors="surrogatepass")


def replaced(old: str, new: str) -> Change:
    """Replace a part of a text."""
    return lambda path: path.write_text(path.read_text().replace(old, new, 1))


def appended(more: str) -> Change:
    """Append to a text."""
    return lambda path: path.write_text(path.read_text() + more)


def valued(value: object, *steps: str | int) -> Change:
    """Set a value of a JSON file."""

    def change(path: Path) -> None:
        content = here = json.loads(path.read_text())
        for step in steps[:-1]:
            here = here[step]
        here[steps[-1]] = value
        path.write_text(json.dumps(content))

    return change


def boxed(corners: list[float]) -> Change:
    """Give the first object of the first image these coordinates."""
    return valued(corners, 0, "objects", 0, "box")


def array(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Change an array."""
    return lambda path: np.save(path, change(np.load(path)))


def tensors(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Change every tensor of a file."""
    return lambda path: save_file({k: change(v) for k, v in load_file(path).items()}, path)


def flipped(path: Path) -> None:
    """Flip a bit of the last byte."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def swapped(path: Path) -> None:
    """Exchange the ids of two words of a vocabulary."""
    content = json.loads(path.read_text())
    ids = content["word2idx"]
    ids["red"], ids["dog"] = ids["dog"], ids["red"]
    path.write_text(json.dumps(content))


def halved(path: Path) -> None:
    """Cut a table after half of its rows."""
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 2 + 1]))


def a_folder(path: Path) -> None:
    """Put a folder in the place of a file."""
    path.unlink()
    path.mkdir()


def a_file(path: Path) -> None:
    """Put a file in the place of a folder."""
    shutil.rmtree(path)
    path.write_text("")


def cell(name: str, value: str) -> Change:
    """Set a cell of the first row of a CSV file."""

    def change(path: Path) -> None:
        import pandas as pd

        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table.loc[0, name] = value
        table.to_csv(path, index=False)

    return change


def box(values: list[float]) -> Change:
    """Give every first region these coordinates."""
    return array(lambda boxes: np.where(np.arange(4)[:, None] == 0, np.float32(values), boxes))


def one(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return what sets the first number of an array."""

    def change(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        values.reshape(-1)[0] = value
        return values

    return change


def all_equal(values: np.ndarray) -> np.ndarray:
    """Return an array whose images are all the first one."""
    return np.repeat(values[:1], len(values), axis=0)


# kind, what a command is, the file that is changed (or none), the change
KNOWN: list[tuple[str, str, str, Change | None]] = [
    # checked after it is too late
    ("late", NEW, "data/micro/test_words.json", text("[]")),
    ("late", "check data/micro", "data/micro/test_words.json", text("[]")),
    ("late", "check data/micro", "data/micro/train_words.json", text("[]")),
    ("late", NEW, "data/micro/test_words.json", valued([7], 0, 1, "objects")),
    ("late", NEW, "data/micro/test_objects.json", boxed([1, 1, float("nan"), 9])),
    ("late", f"{NEW} --set encoder.word_vectors=words.vec", "words.vec", replaced("4 5 6", "4 5")),
    ("late", SCORE, "run/best.safetensors", text("")),
    # the system says no
    ("system", NEW, "data/micro/train_ims.npy", a_folder),
    ("system", SCORE, "run/vocabulary.json", a_folder),
    ("system", "search gallery dog", "gallery/search.json", a_folder),
    ("system", "check data/micro", "data/micro", a_file),
    ("system", "check data/micro", "data/micro/test_words.json", text(NESTED)),
    ("system", SCORE, "run/config.json", text(NESTED)),
    ("system", DRY, "grid.yml", text(NESTED)),
    ("system", SCORE.replace("run ", f"{'x' * 300} "), "", None),
    # files that belong together
    ("together", "search gallery dog", "colours/best.safetensors", tensors(lambda v: v * 2)),
    ("together", SEARCH, "run/best.safetensors", tensors(lambda v: v * 2)),
    ("together", SEARCH, "vectors/regions.npy", flipped),
    ("together", SCORE, "run/best.safetensors", flipped),
    ("together", SCORE, "run/vocabulary.json", swapped),
    # a damaged record
    ("record", EXPORT, "records/runs.csv", halved),
    ("record", EXPORT, "records/runs.csv", appended("<<<<<<< HEAD\n")),
    ("record", EXPORT, "records/runs.csv", appended('"open')),
    ("record", EXPORT, "records/runs.csv", cell("i2t_r1", "nan")),
    ("record", EXPORT, "records/runs.csv", cell("rsum", "")),
    ("record", EXPORT, "records/curves.csv", halved),
    # values nobody can mean
    *(("values", f"{NEW} --seed {seed}", "", None) for seed in ("-1", "1e22", "1.5", "null")),
    *(("values", f"{DRY} --seeds {seed}", "", None) for seed in ("-1", "1e22", "1.5", "null")),
    *(
        ("values", DRY, "grid.yml", replaced("- 0", f"- {seed}"))
        for seed in ("-1", "1e22", "1.5", "null", "true", "'x'")
    ),
    ("values", DRY, "grid.yml", replaced("changes:", "changes: [5]\n    x:")),
    ("values", DRY, "grid.yml", replaced("- encoder.embedding=8", "- 5")),
    ("values", DRY, "grid.yml", replaced("    seeds:", "    minutes: .inf\n    seeds:")),
    ("values", DRY, "grid.yml", replaced("    seeds:", "    minutes: .nan\n    seeds:")),
    ("values", DRY, "grid.yml", replaced("    dataset:", "    dataset: other\n    dataset:")),
    ("values", DRY, "grid.yml", replaced("scan-t2i-mean", "scan-t2i-mean+ccr+ccr")),
    ("values", f"{SEARCH} --top -1", "", None),
    ("values", f"{SEARCH} --top 0", "", None),
    ("values", f"{SEARCH} --candidates -1", "", None),
    ("values", f"{SCORE} --top -1", "", None),
    ("values", f"{SCORE} --shards -1", "", None),
    ("values", f"{SCORE} --folds -1", "", None),
    ("values", f"{SCORE} --workers -1", "", None),
    ("values", f"{NEW} --set encoder.embedding=1000000000000", "", None),
    ("values", f"{NEW} --set encoder.embedding=8.5", "", None),
    ("values", f"{NEW} --set training.learning_rate=nan", "", None),
    ("values", NEW.replace("scan-t2i-mean", "scan-t2i-mean+ccr+ccr"), "", None),
    ("values", f"{NEW} --processes 0", "", None),
    ("values", "scenes --preset tiny --folder scenes --seed -1", "", None),
    # leaving the folder
    ("leaving", f"{SCORE} --split ../../x", "", None),
    ("leaving", f"{SCORE} --split /x", "", None),
    ("leaving", "check data/micro", "data/micro/test_ids.txt", replaced("2000", "../../x")),
    ("leaving", "check data/micro", "data/micro/test_ids.txt", replaced("2000", "/etc/x")),
    ("leaving", INDEX, "data/micro/test_ids.txt", replaced("2000", "../../x")),
    ("leaving", "data coverage data/micro --split ../../x", "", None),
    ("leaving", "data entities entities --annotations annotations --split ../x", "", None),
    ("leaving", COCOBU, "karpathy.json", replaced("000000000007.jpg", "\\u001b[31m.jpg")),
    ("leaving", "index data/micro more --run run --split ../x", "", None),
    # geometry
    *(
        ("geometry", "check data/micro", "data/micro/test_boxes.npy", box(corners))
        for corners in ([-8, 1, 9, 9], [1, -8, 9, 9], [1, 1, 19, 9], [1, 1, 9, 19], [9, 1, 1, 9])
    ),
    *(
        ("geometry", "check data/micro", "data/micro/test_objects.json", boxed(corners))
        for corners in ([-8, 1, 9, 9], [1, -8, 9, 9], [1, 1, 19, 9], [1, 1, 9, 19])
    ),
    # silently poor data
    ("poor", NEW, "data/micro/train_ims.npy", array(np.zeros_like)),
    ("poor", NEW, "data/micro/train_ims.npy", array(all_equal)),
    ("poor", NEW, "data/micro/train_caps.txt", text("\u200b\n" * 60)),
    ("poor", "check data/micro", "data/micro/train_caps.txt", text("\u200b\n" * 60)),
    ("poor", "check data/micro", "data/micro/test_ids.txt", text("1\n" * 60)),
    ("poor", "check data/micro", "data/micro/test_ids.txt", text("\n".join(["1", ""] * 30))),
    # further tracebacks
    ("traceback", SCORE, "run/vocabulary.json", valued(10**30, "word2idx", "<unk>")),
    ("traceback", SCORE, "run/vocabulary.json", text(NESTED)),
    ("traceback", SCORE, "run/config.json", text("{}")),
    ("traceback", SCORE, "run/best.safetensors", Path.unlink),
    ("traceback", INDEX, "run/best.safetensors", tensors(lambda v: np.full_like(v, np.nan))),
    ("traceback", "search gallery dog", "gallery/search.json", text("{}")),
    ("traceback", SEARCH, "vectors/search.json", text("{}")),
    ("traceback", COCOBU, "cocobu/cocobu_att/7.npz", lambda p: np.savez(p, feat=np.array(["a"]))),
    ("traceback", COCOBU, "cocobu/cocobu_att/7.npz", lambda p: np.savez(
        p, x=np.ones((3, 5), np.float32), image_w=float("nan"), image_h=1)),
    ("traceback", "check data/micro", "data/micro/test_caps.txt", text("a \ud800 dog\n" * 60)),
    ("traceback", "data list --registry registry.toml", "registry.toml", replaced("127", "[::1")),
    ("traceback", "scenes --preset tiny --folder", "", None),
]  # fmt: skip


@pytest.fixture(scope="module")
def place() -> Iterator[Tree]:
    with arena() as tree:
        yield tree


@pytest.mark.parametrize(
    ("command", "file", "change"),
    [pytest.param(*line[1:], id=f"{line[0]}-{number}") for number, line in enumerate(KNOWN)],
)
def test_a_known_bad_input_is_refused(
    command: str, file: str, change: Change | None, place: Tree
) -> None:
    words = command.split()
    try:
        if change is not None:
            change(place.root / file)
        before = Tree.of(place.root)
        outcome = run_command([*words, ""] if words[-1] == "--folder" else words)
        written = before.changed()
    finally:
        place.restore()
    assert (outcome.code, faults(outcome), written) == (2, [], []), outcome.out + outcome.error
