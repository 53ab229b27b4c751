"""The projection of features to principal components."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from itm_book.regions.projection import Projection, fitted
from itm_core.errors import InputError


def some_features() -> np.ndarray:
    random = np.random.default_rng(0)
    return (random.normal(size=(400, 6)) * [5, 4, 3, 2, 1, 0.5] + 7).astype(np.float32)


def test_components_are_those_of_a_singular_value_decomposition() -> None:
    features = some_features()
    projection, kept = fitted(np.split(features, 8), 3)
    centred = features.astype(np.float64) - features.mean(0)
    _, values, directions = np.linalg.svd(centred, full_matrices=False)
    assert kept == pytest.approx((values[:3] ** 2).sum() / (values**2).sum())
    projected = projection(features)
    np.testing.assert_allclose(np.abs(projected), np.abs(centred @ directions[:3].T), atol=1e-3)
    np.testing.assert_allclose(projected.mean(0), 0, atol=1e-4)


def test_batches_do_not_matter() -> None:
    features = some_features()
    whole, _ = fitted([features], 6)
    parts, _ = fitted([features[:7], features[7:]], 6)
    np.testing.assert_allclose(np.abs(whole(features)), np.abs(parts(features)), atol=1e-4)


def test_all_components_keep_distances() -> None:
    features = some_features()
    projection, kept = fitted([features], 6)
    assert kept == pytest.approx(1)
    distances = [
        np.linalg.norm(v[:200] - v[200:], axis=1) for v in (features, projection(features))
    ]
    np.testing.assert_allclose(*distances, rtol=1e-4)


def test_nothing_to_fit_on() -> None:
    with pytest.raises(ValueError, match="no features"):
        fitted([])


def test_a_file_of_another_width_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "projection.safetensors"
    tensors = {"mean": np.zeros(8, np.float16), "components": np.zeros((8, 512), np.float16)}
    save_file(tensors, path)
    assert Projection.read(path, 8).width == 512
    with pytest.raises(InputError, match="does not fit"):
        Projection.read(path, 9)


def test_written_and_read(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    projection = Projection(
        random.normal(size=8).astype(np.float32), random.normal(size=(8, 512)).astype(np.float32)
    )
    projection.write(tmp_path / "p.safetensors")
    again = Projection.read(tmp_path / "p.safetensors", 8)
    np.testing.assert_allclose(again.components, projection.components, rtol=1e-3, atol=1e-4)
    assert again.identity != projection.identity  # rounding is part of it
