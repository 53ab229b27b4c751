"""What training and evaluation read of a dataset is checked before the first step, and by check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from itm_core.cli import main
from itm_core.data.vocabulary import tokenise
from tests.micro import SMALL, write_dataset

BOX = [0, 0, 8, 6]
TRAIN = "train --recipe scan-t2i-mean --device cpu".split()
OVERRIDES = [word for change in SMALL for word in ("--set", change)]


def annotated(folder: Path) -> Path:
    """A dataset whose words all name the one object of their image."""
    write_dataset(folder)
    for split in ("train", "dev", "test"):
        captions = (folder / f"{split}_caps.txt").read_text().splitlines()
        write(
            folder,
            f"{split}_words.json",
            [[{"objects": [0]} for _ in tokenise(c)] for c in captions],
        )
        write(folder, f"{split}_objects.json", [{"objects": [{"box": BOX}]}] * 12)
        np.save(folder / f"{split}_boxes.npy", np.tile(BOX, (12, 4, 1)))
        np.save(folder / f"{split}_img_sizes.npy", np.full((12, 2), 32))
    return folder


def write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(json.dumps(content))


def edited(name: str, change: Callable[[list], object]) -> Callable[[Path], None]:
    """A damage: the list in a file after a change."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        write(folder, name, content)

    return damage


def text(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content, encoding="utf-8") and None


def array(name: str, values: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, values)


def first_caption(line: str) -> Callable[[Path], None]:
    """A damage: another line, or none, in the place of the first caption."""

    def damage(folder: Path) -> None:
        path = folder / "test_caps.txt"
        path.write_text(line + path.read_text().partition("\n")[2], encoding="utf-8")

    return damage


DAMAGES: dict[str, Callable[[Path], None]] = {
    "no words": text("test_words.json", "[]"),
    "words of another kind": text("test_words.json", "{}"),
    "words too deep": text("test_words.json", "[" * 100_000),
    "a token too few": edited("test_words.json", lambda words: words[3].pop()),
    "an object too many": edited("test_words.json", lambda words: words[3][0].update(objects=[1])),
    "a negative object": edited("test_words.json", lambda words: words[3][0].update(objects=[-1])),
    "an image too few": edited("test_objects.json", lambda images: images.pop()),
    "a box with NaN": edited(
        "test_objects.json",
        lambda images: images[2].update(objects=[{"box": [0, 0, float("nan"), 1]}]),
    ),
    "a box left of the picture": edited(
        "test_objects.json", lambda images: images[2].update(objects=[{"box": [-3, 0, 2, 1]}])
    ),
    "words alone": lambda folder: (folder / "test_objects.json").unlink(),
    "a region left of the picture": array("test_boxes.npy", np.tile([-3, 0, 8, 6], (12, 4, 1))),
    "pictures too few": array("test_pictures.npy", np.zeros((3, 4, 4, 3), np.uint8)),
    "a missing caption": first_caption(""),
    "an invisible caption": first_caption("\u200b\u0301\x01\n"),
    "invisible ids": text("test_ids.txt", "".join("\u200b" * n + "\n" for n in range(1, 13))),
    "ids that are too long": text("test_ids.txt", "".join(f"{n}{'x' * 256}\n" for n in range(12))),
    "a count of thousands of digits": text("test_counts.txt", "9" * 5000 + "\n" + "5\n" * 11),
    "a count too large for 64 bits": text("test_counts.txt", f"{10**30}\n" + "5\n" * 11),
}
OF_TRAINING = {
    "a vocabulary with a huge id": text(
        "vocab.json", json.dumps({"word2idx": {"<start>": 0, "<end>": 1, "<unk>": 10**30}})
    ),
    "a vocabulary too deep": text("vocab.json", '{"word2idx":' + "[" * 100_000),
    "a vocabulary of thousands of digits": text("vocab.json", "9" * 5000),
    "a note on features with another width": text(
        "features.json",
        '{"features":{"backbone":"x","width":"11"},"made_with":0,"source":0,"images":0,"left_out":0}',
    ),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, whose test scores measured attention."""
    place = tmp_path_factory.mktemp("trained")
    dataset = annotated(place / "micro")
    train = [*TRAIN, "--dataset", str(dataset), "--root", str(place / "runs"), *OVERRIDES]
    assert main(train) == 0
    (run,) = (place / "runs").glob("micro/*/*")
    assert "t2i_attention_f1" in json.loads((run / "metrics.json").read_text())
    return run


@pytest.mark.parametrize("name", [*DAMAGES, *OF_TRAINING])
def test_damage_is_found_before_the_first_step(
    name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = annotated(tmp_path / "micro")
    (DAMAGES | OF_TRAINING)[name](folder)
    train = [*TRAIN, "--dataset", str(folder), "--root", str(tmp_path / "runs"), *OVERRIDES]
    score = ["score", str(run), str(folder), "--out", str(tmp_path / "scores"), "--device", "cpu"]
    commands = [["check", str(folder)], train]
    for command in commands if name in OF_TRAINING else [*commands, score]:
        assert main(command) == 2, command[0]
        (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("itm: ")]
        assert str(folder) in line
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize("name", ["train", "dev"])
def test_annotations_of_every_split_are_checked(name: str, tmp_path: Path) -> None:
    folder = annotated(tmp_path / "micro")
    write(folder, f"{name}_words.json", [])
    assert main(["check", str(folder)]) == 2


def test_a_damaged_note_of_what_was_scanned_is_ignored(tmp_path: Path) -> None:
    folder = annotated(tmp_path / "micro")
    (folder / ".train_ims.npy.checked").write_text("[" * 100_000)
    assert main(["check", str(folder)]) == 0
