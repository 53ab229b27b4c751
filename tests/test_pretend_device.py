"""Every kind of recipe on an accelerator that is not there: no operation mixes devices.

`tests.pretend` is the device. What is computed on it is the same as on the CPU.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from itm_book.search.two_stage import build_two_stage, encode_captions, open_two_stage
from itm_core.data.dataset import Dataset, load_dataset
from itm_core.environment import describe, exact, has_float64, pick_device
from itm_core.errors import InputError
from itm_core.evaluation.scoring import pad, score_matrix
from itm_core.experiments.run import Run
from itm_core.experiments.runs import train_or_load
from itm_core.models import Attending
from tests import pretend
from tests.micro import SMALL, write_dataset

RECIPES = (
    *("scan-t2i-mean", "scan-i2t-LSE", "bfan-prob", "saf", "sgr", "imram-full", "chan"),
    *("rcr-t2i", "rar-i2t", "rcar-t2i", "scan-t2i-mean+rcar", "scan-t2i-mean+ccr+ccs"),
    *("bfan-equal+rcr", "vse-max", "vse-gpo", "vsrn"),
)
CHANGES = (*SMALL[:2], "training.epochs=1", "training.batch=30", "loss.warmup_epochs=0")


@pytest.fixture(scope="module")
def device() -> torch.device:
    return pretend.device()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_dataset(write_dataset(tmp_path_factory.mktemp("data") / "micro"))


@pytest.fixture(scope="module", params=RECIPES)
def runs(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    device: torch.device,
    data: Dataset,
) -> tuple[Run, Run]:
    """A run of two steps on the device, and the same one on the CPU."""
    both = [
        train_or_load(
            data,
            request.param,
            root=tmp_path_factory.mktemp(name),
            device=name,
            overrides=CHANGES,
            progress=False,
        )
        for name in (device.type, "cpu")
    ]
    return both[0], both[1]


@pytest.mark.slow
def test_two_steps_and_their_evaluation_are_those_of_the_cpu(runs: tuple[Run, Run]) -> None:
    there, here = runs
    assert there.environment["device"] == pretend.NAME
    assert there.curve["loss"].tolist() == pytest.approx(here.curve["loss"].tolist(), rel=1e-5)
    np.testing.assert_allclose(there.scores, here.scores, atol=1e-4)
    assert there.metrics["rsum"] == pytest.approx(here.metrics["rsum"], abs=2)


@pytest.mark.slow
def test_scores_and_explanations_are_those_of_the_cpu(
    runs: tuple[Run, Run], device: torch.device, data: Dataset
) -> None:
    run, _ = runs
    captions = [run.vocabulary.encode(caption) for caption in data.test.captions]
    matcher, here = run.matcher(device.type), run.matcher()
    scores = score_matrix(matcher, data.test.features, captions)
    np.testing.assert_allclose(scores, score_matrix(here, data.test.features, captions), atol=1e-5)
    if isinstance(matcher, Attending):
        ids, lens = pad(captions[:3])
        features = torch.from_numpy(data.test.regions[:3].copy())
        with torch.no_grad():
            explained = [
                one.explain(one.regions(features.to(at)), one.words(ids.to(at), lens))
                for one, at in ((matcher, device), (here, torch.device("cpu")))
            ]
        there, expected = (output.total().cpu() for output in explained)
        torch.testing.assert_close(there, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_an_index_is_built_and_searched(
    runs: tuple[Run, Run], device: torch.device, data: Dataset, tmp_path: Path
) -> None:
    run, _ = runs
    captions = [run.vocabulary.encode(caption) for caption in data.test.captions]
    matcher = run.matcher(device.type)
    build_two_stage(matcher, data.test.regions, captions, tmp_path / "g")
    search = open_two_stage(matcher, tmp_path / "g")
    words = encode_captions(matcher, captions[:4])
    found = search.search(words, candidates=12, top=5)
    assert found.images.shape == (4, 5)
    assert np.isfinite(found.scores).all()


def test_an_operation_that_mixes_devices_is_noticed(device: torch.device) -> None:
    there = torch.ones(3).to(device)
    pretend.waits.clear()
    assert (there + 1).sum().item() == 6
    assert pretend.waits == {"_local_scalar_dense": 1}
    assert (there * torch.tensor(2.0)).device.type == pretend.NAME
    with pytest.raises(pretend.MixedDevicesError, match=r"add mixes pretend .*: \(3,\)"):
        there + torch.ones(3)
    with pytest.raises(pretend.MixedDevicesError, match="index"):
        there[torch.tensor([0, 1])]


def test_any_device_of_torch_is_taken(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pick_device(pretend.NAME) == device
    assert describe(device)["device"] == pretend.NAME
    with pytest.raises(InputError, match="no such device.*expected auto, cpu.*found pretend:1"):
        pick_device(f"{pretend.NAME}:1")
    there = {"cuda": 0, "mps": 1, "xpu": 2, "cpu": 1}
    monkeypatch.setattr("itm_core.environment.device_count", lambda kind: there[kind])
    assert pick_device() == torch.device("mps")
    assert pick_device("xpu:1") == torch.device("xpu:1")
    with pytest.raises(InputError, match="no such device.*expected auto, cpu, mps, xpu"):
        pick_device("cuda")


def test_float64_falls_back_to_the_cpu(
    device: torch.device, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert has_float64(device)
    assert exact(torch.ones(2).to(device)).device.type == pretend.NAME
    for place in ("itm_core.environment", "itm_core.experiments.runs"):
        monkeypatch.setattr(f"{place}.has_float64", lambda at: at.type == "cpu")
    assert exact(torch.ones(2).to(device)).device.type == "cpu"
    changes = {"overrides": (*CHANGES, "training.precision=float64"), "root": tmp_path}
    with pytest.raises(InputError, match="no float64; found device pretend.*use device cpu"):
        train_or_load(data, "scan-t2i-mean", device=pretend.NAME, **changes)
    monkeypatch.setattr("itm_core.experiments.runs.pick_device", lambda _name: device)
    run = train_or_load(data, "scan-t2i-mean", device="auto", progress=False, **changes)
    assert run.environment["device"] == "cpu"
