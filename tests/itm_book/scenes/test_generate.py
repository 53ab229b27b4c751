"""Scenes: pinned bytes, true captions, correct word references, and control matchers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from itm_book.scenes import controls, generate
from itm_book.scenes.captions import WORDS
from itm_book.scenes.regions import REGIONS, WIDTH
from itm_book.scenes.world import SIDE
from itm_core.data.dataset import load_dataset, load_split
from itm_core.data.vocabulary import tokenise
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from tests.micro import write_dataset


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "scenes-tiny"
    return generate.make_scenes(folder, preset="tiny", workers=1, progress=False)


def test_the_bytes_are_those_that_were_pinned(tiny: Path) -> None:
    manifest = json.loads((tiny / "scenes.json").read_text())
    assert manifest["fingerprint"] == generate.FINGERPRINTS["tiny"]


def test_how_many_processes_make_it_does_not_matter(tiny: Path, tmp_path: Path) -> None:
    two = generate.make_scenes(tmp_path / "two", preset="tiny", workers=2, progress=False)
    assert (two / "scenes.json").read_text() == (tiny / "scenes.json").read_text()


def test_another_seed_is_another_dataset_under_no_pinned_hash(tmp_path: Path, tiny: Path) -> None:
    other = generate.make_scenes(tmp_path / "other", preset="tiny", seed=1, progress=False)
    assert (other / "test_caps.txt").read_text() != (tiny / "test_caps.txt").read_text()


def test_the_loader_reads_it_like_any_other(tiny: Path) -> None:
    data = load_dataset(tiny)
    assert data.train.regions.shape == (120, REGIONS, WIDTH)
    assert data.test.boxes is not None
    assert (data.test.boxes[..., 2:] > data.test.boxes[..., :2]).all()
    assert data.test.boxes.min() >= 0
    assert data.test.boxes.max() <= SIDE
    picture = data.test.picture(3)
    assert picture is not None
    assert picture.shape == (SIDE, SIDE, 3)
    unknown = data.vocabulary.ids["<unk>"]
    assert all(unknown not in data.vocabulary.encode(c) for c in data.test.captions)


def test_every_word_names_objects_that_it_is_true_of(tiny: Path) -> None:
    test = load_split(tiny, "test")
    images, words = test.objects(), test.words()
    assert images is not None
    assert words is not None
    means = {
        word: (kind, value)
        for kind, table in WORDS.items()
        for value, words_of_value in table.items()
        for word in words_of_value
    }
    checked = 0
    for caption, (text, named) in enumerate(zip(test.captions, words, strict=True)):
        tokens = tokenise(text)
        assert len(tokens) == len(named)
        for token, truth in zip(tokens, named, strict=True):
            if truth and token in means:
                kind, value = means[token]
                for number in truth["objects"]:
                    thing = images[test.caption_image[caption]]["objects"][number]
                    assert thing[kind] == value, (text, token)
                    checked += 1
    assert checked > 1000


def test_every_caption_is_true_of_its_own_picture(tiny: Path) -> None:
    test = load_split(tiny, "test")
    for control in ("oracle", "binding", "bag_of_words"):
        scores = controls.control_scores(test, control)
        matching = scores[test.caption_image, np.arange(len(test.captions))]
        assert (matching >= (1 if control == "bag_of_words" else 2)).all()


def test_controls_stand_in_their_order(tiny: Path) -> None:
    train = load_split(tiny, "train")
    recall = {
        name: retrieval.metrics(controls.control_scores(train, name), ties="mean").t2i.r1
        for name in controls.MATCHERS
    }
    assert recall["oracle"] > 90
    assert recall["oracle"] > recall["binding"] > recall["bag_of_words"] + 15


def test_length_says_nothing_of_the_picture(tiny: Path) -> None:
    train = load_split(tiny, "train")
    images = train.objects()
    assert images is not None
    count = np.repeat([len(scene["objects"]) for scene in images], 5)
    length = [len(caption.split()) for caption in train.captions]
    assert abs(np.corrcoef(length, count)[0, 1]) < 0.1


def test_splits_share_no_picture(tiny: Path) -> None:
    data = load_dataset(tiny)
    seen = {
        picture.tobytes()
        for split in (data.train, data.dev, data.test)
        for picture in (split.picture(k) for k in range(len(split.regions)))
        if picture is not None
    }
    assert len(seen) == 220


def test_features_say_nothing_but_what_is_in_the_pixels(tiny: Path) -> None:
    """Siblings that differ in colour alone have regions in the same places."""
    test = load_split(tiny, "test")
    assert test.boxes is not None
    features = np.asarray(test.regions)
    assert features.dtype == np.float32
    assert (features >= 0).all()
    assert 0.3 < (features == 0).mean() < 0.7
    assert not np.array_equal(features[0], features[1])


@pytest.mark.parametrize("images", [10, 1000])
def test_chance_agrees_with_guessing(images: int) -> None:
    recall = controls.chance(images, 5)
    draw = np.random.default_rng(0)
    guessed = [retrieval.metrics(draw.random((10, 50))).flat() for _ in range(600)]
    if images == 10:
        for key in ("i2t_r1", "i2t_r5", "t2i_r1", "t2i_r5"):
            assert np.mean([g[key] for g in guessed]) == pytest.approx(recall[key], abs=2)
    assert recall["t2i_r1"] == pytest.approx(100 / images)


@pytest.mark.parametrize("blind_to", ["words", "regions"])
def test_a_blind_copy_hides_one_side_alone(tiny: Path, tmp_path: Path, blind_to: str) -> None:
    copy = load_split(controls.blind_copy(tiny, tmp_path / "blind", blind_to), "test")
    original = load_split(tiny, "test")
    same_words = copy.captions == original.captions
    same_regions = np.array_equal(copy.regions, original.regions)
    assert (same_words, same_regions) == (blind_to == "regions", blind_to == "words")
    assert [len(c.split()) for c in copy.captions] == [len(c.split()) for c in original.captions]


def test_a_folder_that_is_whole_is_kept(tiny: Path) -> None:
    before = (tiny / "scenes.json").stat().st_mtime_ns
    generate.make_scenes(tiny, preset="tiny", progress=False)
    assert (tiny / "scenes.json").stat().st_mtime_ns == before


def test_a_folder_of_something_else_is_not_touched(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another Scenes"):
        generate.make_scenes(tiny, preset="tiny", seed=5, progress=False)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="has no Scenes dataset"):
        generate.make_scenes(tmp_path, preset="tiny", progress=False)
    with pytest.raises(InputError, match="full, small, tiny"):
        generate.make_scenes(tmp_path / "new", preset="huge", progress=False)


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generate.FINGERPRINTS, "tiny", "another hash")
    with pytest.raises(InputError, match="is not the expected one"):
        generate.make_scenes(tmp_path / "new", preset="tiny", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == [".new.lock"]


@pytest.mark.parametrize(
    ("folder", "seed", "message"),
    [
        ("", 0, "the folder has no name"),
        ("/", 0, "no name"),
        ("x", -1, "not a seed"),
        ("x", 10**22, "not a seed"),
    ],
)
def test_a_folder_without_a_name_and_a_seed_that_is_none_are_refused(
    folder: str, seed: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        generate.make_scenes(folder, preset="tiny", seed=seed, workers=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["[]", "{}", "[" * 100_000, "[3]", '[{"mentions": []}]'])
def test_meanings_of_another_format_are_refused(text: str, tmp_path: Path) -> None:
    split = load_split(write_dataset(tmp_path), "test")
    (tmp_path / "test_meanings.json").write_text(text)
    with pytest.raises(InputError, match=r"test_meanings\.json"):
        controls.meanings(split)


def test_a_file_in_place_of_the_folder_is_an_input_error(tmp_path: Path) -> None:
    file = tmp_path / "scenes.txt"
    file.write_text("not a folder")
    for folder in (file, file / "scenes"):
        with pytest.raises(InputError, match="not a folder"):
            generate.make_scenes(folder, preset="tiny")
