"""Where the jobs of a batch run, and how many at once: GPUs, profiles, clusters."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from itm_book.batch import engine, profiles
from itm_core.cli import main
from itm_core.errors import InputError
from itm_core.json_files import read_json
from tests.itm_book.batch.two_cells import make_place, prepare, stand_in
from tests.places import PROJECT


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_place(tmp_path)


# --- GPUs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["grid", "score"])
def test_the_help_says_how_many_jobs_run_at_once(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "one for each GPU, on a CPU one for each core, on a cluster the jobs of its" in told


def test_there_are_no_more_workers_than_gpus(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device in ("auto", "cuda"):
        planned = prepare(place, device=device, workers=5)
        assert (planned.gpus, planned.workers) == (2, 2)
    one = prepare(place, device="cuda:1", workers=5)  # several small runs on one GPU
    assert (one.gpus, one.workers) == (0, 5)
    assert prepare(place, device="cuda:1").workers == 1


# --- profiles ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["local", "slurm", "kubernetes"])
def test_snakemake_takes_the_profiles(place: Path, name: str) -> None:
    if name != "local" and not find_spec(f"snakemake_executor_plugin_{name}"):
        pytest.skip(f"snakemake-executor-plugin-{name} is not installed (extra: cluster)")
    planned = prepare(place, profile=name)
    assert planned.remote == (name != "local")
    engine._write(planned, planned.jobs)
    assert len(read_json(planned.home / "cells.json")["cells"]) == 2
    command = [sys.executable, *engine._arguments(planned), "--dry-run"]
    done = subprocess.run(command, cwd=planned.home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("rule experiment:") == 2
    if name == "slurm":
        assert "threads: 4" in done.stdout
        assert "gpu=1" in done.stdout


def test_a_job_runs_in_the_folder_of_a_pod_with_the_code_of_the_clone(place: Path) -> None:
    planned = stand_in(place, workers=1, rows=["t2i"])
    engine._write(planned, planned.jobs)
    (run,) = read_json(planned.home / engine.CELLS)["cells"]
    pod = place / "workdir"
    pod.mkdir()
    shutil.copy2(planned.home / "Snakefile", pod)  # in a pod, from the archive of the sources
    arguments = engine._arguments(planned)
    command = [sys.executable, *arguments, "--printshellcmds"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=pod, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"PYTHONPATH={PROJECT} " in done.stderr
    assert planned.jobs[0].state == "finished"
    assert list((pod / "done").rglob(run))


def test_a_cluster_asks_for_its_plugin(place: Path) -> None:
    (place / "profile").mkdir()
    (place / "profile" / "config.yaml").write_text("executor: no-such")
    with pytest.raises(InputError, match="plugin of Snakemake for no-such is not.*cluster"):
        prepare(place, profile=place / "profile")


@pytest.mark.parametrize("jobs", ["unlimited", "0", "true", "1.5", "[4]"])
def test_a_cluster_has_a_number_of_jobs(
    jobs: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiles, "find_spec", lambda _: True)
    (place / "profile").mkdir()
    (place / "profile" / "config.yaml").write_text(f"executor: slurm\njobs: {jobs}")
    with pytest.raises(InputError, match=r"config\.yaml: wrong number of jobs .*--workers"):
        prepare(place, profile=place / "profile")
    assert prepare(place, profile=place / "profile", workers=3).workers == 3
