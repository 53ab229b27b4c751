"""Batches made ahead, and features held on a device."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from itm_core.errors import InputError
from itm_core.experiments.recipes import Recipe
from itm_core.training.batches import Pairs
from itm_core.training.feature_cache import cache_features, prefetch
from itm_core.training.trainer import Trainer
from tests.itm_core.training import test_trainer
from tests.itm_core.training.test_trainer import RECIPE, some_pairs, trainer, weights

CPU = torch.device("cpu")


def test_results_come_in_order_and_are_made_beside() -> None:
    made = [(n, threading.get_ident()) for n in range(20)]
    results = list(prefetch(lambda item: (item[0], threading.get_ident()), made))
    assert [n for n, _ in results] == list(range(20))
    assert {thread for _, thread in results} != {threading.get_ident()}
    assert len({thread for _, thread in results}) == 1


def test_making_goes_on_while_results_are_used_but_not_far() -> None:
    made: list[int] = []
    with closing(prefetch(made.append, range(50), count=3)) as results:
        next(results)
        time.sleep(0.1)
        assert made == [0, 1, 2, 3]  # the one in use, and three
    time.sleep(0.05)
    assert len(made) == 4  # nothing is begun after the end


def test_an_error_is_raised_where_its_result_would_have_come() -> None:
    results = prefetch(lambda n: 1 // (2 - n), range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def caching_trainer(
    folder: Path, kind: str, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> Trainer:
    """A trainer on a CPU that is taken for a device with room."""
    with_room = partial(cache_features, free=2**30)
    monkeypatch.setattr("itm_core.training.batches.cache_features", with_room)
    return trainer(folder, recipe.replace(f"training.feature_cache={kind}"))


@pytest.mark.parametrize("drop", ["training.region_dropout=0", "training.region_dropout=0.3"])
def test_cached_features_train_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drop: str
) -> None:
    recipe = RECIPE.replace(drop)
    (tmp_path / "disk").mkdir(), (tmp_path / "cached").mkdir()
    disk = trainer(tmp_path / "disk", recipe)
    assert disk.batches.cache is None
    disk.run()
    cached = caching_trainer(tmp_path / "cached", "auto", recipe, monkeypatch)
    assert (cached.batches.cache is not None) == (drop == "training.region_dropout=0")
    cached.run()
    for name, value in weights(disk.matcher).items():
        assert torch.equal(value, weights(cached.matcher)[name]), name


def test_half_precision_is_that_of_rounded_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half").mkdir(), (tmp_path / "rounded").mkdir()
    half = caching_trainer(tmp_path / "half", "float16", RECIPE, monkeypatch)
    assert half.batches.cache is not None
    assert half.batches.cache.dtype == torch.float16
    half.run()
    pairs = some_pairs()
    rounded = pairs.features.astype(np.float16).astype(np.float32)
    same = Pairs(rounded, pairs.captions, pairs.image_of, mask=20, vocabulary=20)
    monkeypatch.setattr(test_trainer, "some_pairs", lambda: same)
    other = trainer(tmp_path / "rounded")
    other.run()
    for name, value in weights(half.matcher).items():
        assert torch.equal(value, weights(other.matcher)[name]), name


def test_features_stay_on_the_disk_where_there_is_no_room() -> None:
    features = np.random.default_rng(0).normal(size=(600, 4, 5)).astype(np.float32)
    assert cache_features(features, CPU, "auto") is None
    assert cache_features(features, CPU, "auto", free=features.nbytes) is None  # half stays free
    cache = cache_features(features, CPU, "auto", free=2 * features.nbytes)
    assert cache is not None
    np.testing.assert_array_equal(cache.numpy(), features)
    assert cache_features(features, CPU, "never", free=2**40) is None
    half = cache_features(features, CPU, "float16", free=features.nbytes)
    assert half is not None
    np.testing.assert_array_equal(half.numpy(), features.astype(np.float16))
    with pytest.raises(InputError, match="do not fit on the device.*training.feature_cache=auto"):
        cache_features(features, CPU, "float16")


@pytest.mark.gpu
def test_a_gpu_with_room_caches_the_features() -> None:
    features = np.random.default_rng(0).normal(size=(600, 4, 5)).astype(np.float32)
    for kind, kept in (("auto", np.float32), ("float16", np.float16)):
        cache = cache_features(features, torch.device("cuda"), kind)
        assert cache is not None
        assert cache.is_cuda
        np.testing.assert_array_equal(cache.cpu().numpy(), features.astype(kept))
