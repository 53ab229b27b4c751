"""Several processes train what one process trains: two of them, by gloo, against this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from itm_core.errors import InputError
from itm_core.experiments import recipes, runs
from itm_core.experiments.weights import save_matcher
from itm_core.models import Matcher
from itm_core.training import distributed
from itm_core.training.distributed import (
    SINGLE_PROCESS,
    ProcessGroup,
    local_device,
    process_group,
    row_wise,
)
from itm_core.training.gradients import gradient_step
from itm_core.training.launch import launch
from itm_core.training.trainer import Trainer
from tests.itm_core.training.test_gradients import batch
from tests.itm_core.training.test_trainer import RECIPE, some_pairs
from tests.micro import SMALL, write_dataset
from tests.places import PROJECT

ROOT = PROJECT
NAMES = (
    "scan-t2i-mean",
    "scan-i2t-LSE",
    "bfan-prob",  # both directions
    "chan",  # hard attention
    "rcr-i2t",  # with dropout in an encoder, see `CHANGES`
    "rcar-t2i",  # dropout that a pair remembers
    "saf",  # batch statistics of a caption with all images
    "vse-gpo",  # batch normalisation in an encoder, whole vectors
    "vsrn",
    "scan-t2i-mean+rcar+ccr+ccs",
)
CHANGES = {"rcr-i2t": ["encoder.word_dropout=0.4"]}
CASES = [(name, True) for name in NAMES] + [(name, False) for name in NAMES[:4]]
DROPPED = RECIPE.replace(
    "training.token_dropout=0.3",
    "training.region_dropout=0.3",
    "encoder.word_dropout=0.4",
    "training.epochs=1",
    "training.batch=7",
    "training.learning_rate=0.0001",
)
STEPS = 2


def step_by_step(name: str, hardest: bool, group: ProcessGroup) -> dict[str, Any]:
    """Losses, first gradients and last weights of a few steps on five pairs, in float64."""
    small = ["encoder.embedding=8", "encoder.word_width=5", *CHANGES.get(name, [])]
    recipe = recipes.get(f"{name}-smoke").replace(*small)
    torch.manual_seed(2)
    matcher = recipe.build(6, 20, 4).double().train()
    optimiser = torch.optim.AdamW(matcher.parameters(), lr=0.01, weight_decay=0.1)
    found: dict[str, Any] = {"losses": []}
    for step in range(STEPS):
        optimiser.zero_grad(set_to_none=True)
        value = gradient_step(
            matcher,
            batch(),
            recipe.loss,
            hardest=hardest,
            constraints=recipe.constraints,
            generator=torch.Generator().manual_seed(step),
            group=group,
        )
        found["losses"].append(value)
        if not step:
            found["gradients"] = {n: p.grad for n, p in matcher.named_parameters()}
        optimiser.step()
    return found | {"weights": dict(matcher.state_dict())}


def trained(
    folder: Path, group: ProcessGroup, epochs: int = 1, *, stop: bool = False
) -> dict[str, Any]:
    """The end of a training that leaves out words and regions; ``stop`` interrupts it."""
    torch.manual_seed(0)
    recipe = DROPPED.replace(f"training.epochs={epochs}")
    trainer = Trainer(
        recipe.build(5, 21, 4),
        some_pairs(),
        recipe,
        seed=0,
        folder=folder,
        save=save_matcher,
        score_dev=lambda matcher: {"rsum": float(next(matcher.parameters()).sum().detach())},
        progress=False,
        group=group,
    )
    if stop:
        trainer.stop.set()
    losses = [row["loss"] for row in trainer.run().curve]
    return {"losses": losses, "weights": dict(trainer.matcher.state_dict())}


def one_of_two(folder: Path) -> None:
    """What each of the two processes does; it leaves its results in ``folder``."""
    with process_group("cpu") as (group, device):
        found: dict[Any, Any] = {case: step_by_step(*case, group) for case in CASES}
        with pytest.raises(KeyboardInterrupt, match="the state is kept"):
            trained(folder / "trainer", group, stop=not group.first)  # one is asked, both stop
        found["trainer"] = trained(folder / "trainer", group)
        found["resumed"] = trained(folder / "trainer", group, epochs=2)
        run = runs.train_or_load(
            folder / "micro",
            "scan-t2i-mean",
            overrides=SMALL,
            root=folder,
            device=device,
            group=group,
        )
        found["run"] = run.folder, run.metrics
        mine = psutil.Process().net_connections()
        found["addresses"] = [c.laddr.ip for c in mine if c.status == psutil.CONN_LISTEN]
        torch.save(found, folder / f"{group.rank}.pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("two")
    write_dataset(place / "micro")
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "from tests.itm_core.training.test_distributed import one_of_two\n"
        f"one_of_two(Path({str(place)!r}))"
    )
    assert launch(["-c", program], 2) == 0
    return place


@pytest.fixture(scope="module")
def two(folder: Path) -> list[dict[Any, Any]]:
    """What the first and what the second process found."""
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in (0, 1)]


def close(a: dict[str, Any], b: dict[str, Any], tolerance: float) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "hardest"), CASES)
def test_losses_gradients_and_weights_are_those_of_one_process(
    name: str, hardest: bool, two: list[dict[Any, Any]]
) -> None:
    alone = step_by_step(name, hardest, SINGLE_PROCESS)
    for found in two:
        here = found[name, hardest]
        assert here["losses"] == pytest.approx(alone["losses"], rel=1e-9)
        close(here["gradients"], alone["gradients"], 1e-9)
        close(here["weights"], alone["weights"], 1e-6)


def test_the_processes_stay_the_same(two: list[dict[Any, Any]]) -> None:
    for case in (*CASES, "trainer", "resumed"):
        close(two[0][case]["weights"], two[1][case]["weights"], 0.0)


def test_a_training_leaves_out_the_same_and_resumes(
    two: list[dict[Any, Any]], tmp_path: Path
) -> None:
    for key, epochs in (("trainer", 1), ("resumed", 2)):
        alone = trained(tmp_path, SINGLE_PROCESS, epochs)
        assert two[0][key]["losses"] == pytest.approx(alone["losses"], rel=1e-5)
        close(two[0][key]["weights"], alone["weights"], 1e-4)


def test_a_run_is_the_same_run_and_says_how_many_made_it(
    folder: Path, two: list[dict[Any, Any]], tmp_path: Path
) -> None:
    alone = runs.train_or_load(
        folder / "micro", "scan-t2i-mean", overrides=SMALL, root=tmp_path, device="cpu"
    )
    made, metrics = two[0]["run"]
    assert two[1]["run"] == (made, metrics)
    assert made.name == alone.folder.name
    assert {path.name for path in made.iterdir()} == {path.name for path in alone.folder.iterdir()}
    config, environment = (
        json.loads((made / f"{name}.json").read_text()) for name in ("config", "environment")
    )
    assert config == alone.config
    assert (environment["processes"], alone.environment["processes"]) == (2, 1)
    np.testing.assert_allclose(runs.load(made).scores, alone.scores, atol=1e-3)


def test_nobody_else_can_reach_the_processes(two: list[dict[Any, Any]]) -> None:
    assert {ip for found in two for ip in found["addresses"]} == {"127.0.0.1"}


def test_what_sees_the_whole_batch_is_not_shared() -> None:
    def sides(name: str) -> list[bool]:
        matcher: Matcher = recipes.get(name).replace("encoder.embedding=8").build(6, 20, 4)
        return [row_wise(matcher.regions), row_wise(matcher.words)]

    assert sides("scan-t2i-mean") == [True, True]
    assert sides("vse-gpo") == [False, True]  # batch normalisation
    across = recipes.get("scan-t2i-mean").replace(
        "encoder.embedding=8", "encoder.region_encoder=transformer_over_images"
    )
    assert not row_wise(across.build(6, 20, 4).regions)


def test_a_gpu_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [local_device(name) for name in ("auto", "cuda", "cpu")] == ["cuda:1", "cuda:1", "cpu"]
    with pytest.raises(InputError, match="its own GPU"):
        local_device("cuda:0")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8])
def test_every_place_is_somebodys(count: int) -> None:
    shares = [ProcessGroup(rank, 3).shard(count).tolist() for rank in range(3)]
    assert sorted(place for share in shares for place in share) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"WORLD_SIZE": "abc"}, "WORLD_SIZE; expected a whole number from 1 to 65535, found 'abc'"),
        ({"WORLD_SIZE": "-1"}, "WORLD_SIZE"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE"),
        ({"WORLD_SIZE": "2"}, "RANK; expected a whole number from 0 to 1, found none"),
        ({"WORLD_SIZE": "2", "RANK": "x"}, "RANK"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "MASTER_PORT"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_PORT": "1e3"}, "MASTER_PORT"),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_PORT": "1"}, "MASTER_ADDR"),
        ({"WORLD_SIZE": "2", "RANK": "0", "ITM_STORE": "x", "LOCAL_WORLD_SIZE": "x"}, "LOCAL_WORL"),
    ],
)
def test_a_wrong_environment_variable_is_named(
    variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    monkeypatch.setattr(distributed, "end_with_parent", lambda: None)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(InputError, match=f"environment variable {named}"),
        distributed.process_group("cpu"),
    ):
        pass
