"""A run scores the features that it was trained on, and refuses all others with exit code 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itm_book.datasets.run_features import require_same_features
from itm_book.pairs import word_maps
from itm_book.photographs.backbones import Colour
from itm_book.search.searcher import Searcher
from itm_core.cli import main
from itm_core.data.dataset import Split, load_split
from itm_core.data.feature_notes import NOTE, read_note
from itm_core.errors import InputError
from itm_core.experiments import runs
from itm_core.json_files import write_json
from tests.micro import SMALL, write_dataset

COLOUR = Colour().identity
NET = {"backbone": "resnet", "weights": "ab" * 32, "side": 448, "width": 92}
OTHER_NET = NET | {"weights": "cd" * 32}


def note(folder: Path, features: dict[str, Any]) -> None:
    parts = {"features": features, "made_with": {}, "source": "", "images": {}, "left_out": []}
    write_json(folder / NOTE, parts)


def micro(folder: Path, features: dict[str, Any] | None = None, **sizes: int) -> Path:
    write_dataset(folder, **sizes)
    if features is not None:
        note(folder, features)
    return folder


def config(features: dict[str, Any] | None = None, whole: str = "none") -> dict[str, Any]:
    found: dict[str, Any] = {"dataset": "trained", "feature_width": 11, "region_count": 4}
    found |= {"recipe": {"encoder": {"image_pooling": whole}}}
    return found if features is None else found | {"features": features}


def test_the_note_decides(tmp_path: Path) -> None:
    known = load_split(micro(tmp_path / "known", NET), "test")
    unknown = load_split(micro(tmp_path / "unknown"), "test")
    require_same_features(config(NET), known)
    require_same_features(config(), unknown)
    net = r"resnet \[92\], weights abababababab…, at 448 pixels"
    cases: list[tuple[dict[str, Any] | None, Split, str]] = [
        (OTHER_NET, known, rf"weights cdcdcdcdcdcd….*dataset trained, found {net}"),
        (COLOUR, known, rf"expected colour \[92\].*dataset trained, found {net}"),
        (None, known, rf"expected features of an unknown backbone.*dataset trained, found {net}"),
        (NET, unknown, rf"expected {net}.*dataset trained, found features of an unknown backbone"),
    ]
    for trained, split, message in cases:
        with pytest.raises(InputError, match=rf"trained on other features.*{message}") as error:
            require_same_features(config(trained), split)
        assert "itm data make" in str(error.value)
    (known.folder / NOTE).write_text("{}")
    with pytest.raises(InputError, match="not a note on features"):
        read_note(known.folder)


def test_without_a_note_the_sizes_are_compared(tmp_path: Path) -> None:
    folder = micro(tmp_path / "other", regions=5)
    split = load_split(folder, "test")
    require_same_features(config(), split)  # any number of regions will do for most methods
    with pytest.raises(InputError, match="another number .* expected 4.*dataset trained, found 5"):
        require_same_features(config(whole="self_attention"), split)
    np.save(folder / "test_ims.npy", np.zeros((12, 4, 3), np.float32))
    with pytest.raises(InputError, match=r"test_ims.npy: .* another width .*expected 11.*found 3"):
        require_same_features(config(), load_split(folder, "test"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    place = tmp_path_factory.mktemp("notes")
    return train(micro(place / "micro", NET), place)


def train(dataset: Path, place: Path, recipe: str = "scan-t2i-mean") -> runs.Run:
    return runs.train_or_load(
        dataset, recipe, root=place / "runs", overrides=SMALL, device="cpu", progress=False
    )


@pytest.mark.parametrize("command", ["score", "index"])
@pytest.mark.parametrize("features", [OTHER_NET, None])
def test_commands_refuse_features_of_another_extractor(
    trained: runs.Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    features: dict[str, Any] | None,
) -> None:
    dataset, out = micro(tmp_path / "foreign", features), tmp_path / "out"
    given = {
        "score": ["score", str(trained.folder), str(dataset), "--out", str(out), "--device", "cpu"],
        "index": ["index", str(dataset), str(out), "--run", str(trained.folder)],
    }[command]
    assert main(given) == 2
    printed = capsys.readouterr().err
    assert "weights abababababab" in printed
    assert ("weights cdcdcdcdcdcd" if features else "an unknown backbone") in printed
    assert not out.exists()
    note(dataset, NET)
    if command == "score":
        assert main(given) == 0


@pytest.mark.parametrize("command", ["score", "index"])
@pytest.mark.parametrize(
    ("recipe", "shape", "message"),
    [
        ("scan-t2i-mean", (12, 4, 3), "another width than those that the run was trained on"),
        ("saf", (12, 5, 11), "another number than those that the run was trained on"),
    ],
)
def test_commands_refuse_features_of_another_size(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    recipe: str,
    shape: tuple[int, int, int],
    message: str,
) -> None:
    run, out = train(micro(tmp_path / "micro"), tmp_path, recipe), tmp_path / "out"
    dataset = micro(tmp_path / "other")
    np.save(dataset / "test_ims.npy", np.zeros(shape, np.float32))
    given = {
        "score": ["score", str(run.folder), str(dataset), "--out", str(out), "--device", "cpu"],
        "index": ["index", str(dataset), str(out), "--run", str(run.folder)],
    }[command]
    assert main(given) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_searching_and_explaining_refuse_them(trained: runs.Run, tmp_path: Path) -> None:
    split = load_split(trained.folder.parents[3] / "micro", "test")
    assert len(Searcher(trained, split).scores_of_images("a red ball")) == 12
    assert word_maps.explain(trained, split, 0, 3).words
    foreign = load_split(micro(tmp_path / "foreign", OTHER_NET), "test")
    with pytest.raises(InputError, match="trained on other features"):
        Searcher(trained, foreign)
    with pytest.raises(InputError, match="trained on other features"):
        word_maps.explain(trained, foreign, 0, 3)
