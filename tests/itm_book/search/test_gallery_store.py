"""Regions on disk: how far off, resumed to the same bytes, and refused when they are others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from itm_book.search import gallery_store
from itm_book.search.gallery_store import build_store, open_store, quantised, require_encoded_by
from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.models import Matcher


def built(recipe: str = "scan-t2i-mean", seed: int = 0) -> Matcher:
    torch.manual_seed(seed)
    return recipes.get(recipe).replace("encoder.embedding=8").build(5, 20, 4).eval()


def some_features(images: int = 23) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(images, 4, 5)).astype(np.float32)


@torch.no_grad()
def exact(matcher: Matcher, features: np.ndarray) -> torch.Tensor:
    return matcher.regions(torch.from_numpy(features)).vectors


def test_int8_is_off_by_half_a_step_at_most() -> None:
    vectors = torch.randn(6, 3, 16) * torch.logspace(-6, 3, 6)[:, None, None]
    vectors[0, 0] = 0
    steps, scales = quantised(vectors)
    assert steps.dtype == torch.int8
    back = steps.float() * scales[..., None]
    assert (back - vectors).abs().le(scales[..., None] * 0.5001).all()
    assert (back[0, 0] == 0).all()
    largest = vectors.abs().amax(-1)
    torch.testing.assert_close(back.abs().amax(-1), largest)  # the largest value is kept


@pytest.mark.parametrize(
    ("kind", "off"), [("float32", 0.0), ("float16", 2**-11), ("int8", 1 / 254)]
)
def test_each_kind_keeps_regions_as_near_as_it_can(tmp_path: Path, kind: str, off: float) -> None:
    matcher, features = built(), some_features()
    store = build_store(matcher, features, tmp_path / "g", kind=kind)
    truth = exact(matcher, features)
    bound = truth.abs().amax(-1, keepdim=True) * off + 1e-6
    assert ((store.fragments(slice(None)).vectors - truth).abs() <= bound).all()
    some = np.array([20, 3, 3])
    torch.testing.assert_close(
        store.fragments(some).vectors, store.fragments(slice(None)).vectors[some]
    )
    assert sum(len(block.lens) for block in store.blocks()) == len(store) == 23


def test_whole_vectors_are_kept_where_a_matcher_has_them(tmp_path: Path) -> None:
    matcher, features = built("vse-gpo"), some_features()
    store = build_store(matcher, features, tmp_path / "g")
    with torch.no_grad():
        whole = matcher.regions(torch.from_numpy(features)).pooled
    torch.testing.assert_close(store.fragments(np.arange(23)).pooled, whole)


@pytest.mark.parametrize("kind", ["int8", "float16"])
def test_a_build_that_was_killed_ends_with_the_same_bytes(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery_store, "AT_ONCE", 5)
    matcher, features = built(), some_features()
    build_store(matcher, features, tmp_path / "whole", kind=kind)
    encode, calls = gallery_store.encode_images, []

    def until_killed(matcher: Matcher, block: np.ndarray) -> list:
        calls.append(len(block))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode(matcher, block)

    monkeypatch.setattr(gallery_store, "encode_images", until_killed)
    with pytest.raises(KeyboardInterrupt):
        build_store(matcher, features, tmp_path / "cut", kind=kind)
    with pytest.raises(InputError, match="15 done.*resumes the build"):
        open_store(tmp_path / "cut")
    build_store(matcher, features, tmp_path / "cut", kind=kind)
    assert calls == [5, 5, 5, 5, 5, 3]  # the first three blocks once, the fourth again, the rest
    for path in sorted((tmp_path / "whole").iterdir()):
        assert (tmp_path / "cut" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_build_killed_before_its_arrays_are_whole_can_be_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matcher, features = built(), some_features()

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gallery_store, "reserve", killed)
        with pytest.raises(KeyboardInterrupt):
            build_store(matcher, features, tmp_path / "cut")
    build_store(matcher, features, tmp_path / "cut")
    build_store(matcher, features, tmp_path / "whole")
    for path in sorted((tmp_path / "whole").iterdir()):
        assert (tmp_path / "cut" / path.name).read_bytes() == path.read_bytes(), path.name


def test_another_matcher_or_other_features_are_refused(tmp_path: Path) -> None:
    features = some_features()
    build_store(built(), features, tmp_path / "g")
    with pytest.raises(InputError, match="another gallery; expected the same weights"):
        build_store(built(seed=1), features, tmp_path / "g")
    with pytest.raises(InputError, match="the same shape, features"):
        build_store(built(), features[:9], tmp_path / "g")
    with pytest.raises(InputError, match="the same kind"):
        build_store(built(), features, tmp_path / "g", kind="int8")
    with pytest.raises(InputError, match="the same vocabulary"):
        build_store(built(), features, tmp_path / "g", vocabulary="0123456789abcdef")


def test_a_damaged_note_is_named(tmp_path: Path) -> None:
    matcher, features = built(), some_features()
    build_store(matcher, features, tmp_path / "g")
    (tmp_path / "g" / "gallery.json").write_text('{"kind": "float16", "shape": [23, 4, 8]}')
    for use in (
        lambda: open_store(tmp_path / "g"),
        lambda: require_encoded_by(matcher, tmp_path / "g"),
        lambda: build_store(matcher, features, tmp_path / "g"),
    ):
        with pytest.raises(InputError, match=r"gallery\.json: .* no valid whole, weights, done"):
            use()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear reader")
    with pytest.raises(InputError, match=r"no gallery\.json"):
        build_store(built(), some_features(), tmp_path)
    with pytest.raises(InputError, match="kind"):
        build_store(built(), some_features(), tmp_path / "g", kind="int4")


def test_a_file_in_place_of_the_gallery_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "gallery.txt").write_text("not a folder")
    matcher = recipes.get("vse-gpo-smoke").build(5, 9, 4)
    features = np.zeros((2, 4, 5), np.float32)
    with pytest.raises(InputError, match="not a folder"):
        build_store(matcher, features, tmp_path / "gallery.txt")
