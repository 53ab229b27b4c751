"""Where the jobs of a batch run: workers, GPUs of this machine, or a cluster's profile.

Page: "Batches", "A cluster".
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from itm_book.records import grids
from itm_book.records.yaml_files import read_yaml
from itm_core.environment import pick_device
from itm_core.errors import InputError, did_you_mean
from itm_core.parallel import cores

PROFILES = grids.FOLDER / "profiles"


def resources(device: str, workers: int | None, profile: Path | str) -> dict[str, Any]:
    """Return the fields of a plan that say how its jobs run.

    Args:
        device: ``auto``, ``cpu`` or another one of torch, of every job.
        workers: number of jobs at once; by default one for each GPU that ``device`` stands for,
            without a GPU one for each core, on a cluster the number in the profile.
        profile: a folder with Snakemake's ``config.yaml``, or the name of one in `PROFILES`.

    Raises `InputError` for a device, number of workers or profile that cannot be used.
    """
    folder, settings = find_profile(profile)
    remote = settings.get("executor", "local") != "local"
    if workers is not None and workers < 1:
        raise InputError("too few workers", expected="1 or more", found=workers)
    gpus = 0 if remote else gpu_count(device)
    if workers is None:
        kind = "cpu" if remote else pick_device(device).type
        workers = _jobs_of(folder, settings) if remote else _local_workers(kind, gpus)
    return {
        "device": device,
        "workers": min(workers, gpus) if gpus else workers,
        "gpus": gpus,
        "profile": folder,
        "remote": remote,
    }


def gpu_count(device: str) -> int:
    """Return how many GPUs of this machine the jobs share: none unless any GPU may be used.

    Raises `InputError` for a device that does not exist.
    """
    picked = pick_device(device)
    return torch.cuda.device_count() if picked.type == "cuda" and picked.index is None else 0


def _local_workers(kind: str, gpus: int) -> int:
    return cores() if kind == "cpu" else max(1, gpus)


def _jobs_of(profile: Path, settings: dict[str, Any]) -> int:
    """Return the number of jobs at once; raises `InputError` for none, or Snakemake's unlimited."""
    jobs = settings.get("jobs", 1)
    if type(jobs) is not int or jobs < 1:
        raise InputError(
            "wrong number of jobs at once",
            file=profile / "config.yaml",
            expected="jobs: 1 or more, as a number",
            found=f"jobs: {jobs}",
            remedy="write a number, or give one with --workers",
        )
    return jobs


def find_profile(profile: Path | str) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a profile and its settings.

    Raises `InputError` when it does not exist, is not valid YAML, or needs a plugin of Snakemake
    that is not installed.
    """
    folders = [Path(profile), PROFILES / profile]
    folder = next((f for f in folders if (f / "config.yaml").is_file()), None)
    if folder is None:
        names = sorted(path.name for path in PROFILES.iterdir())
        raise InputError(
            "no such profile",
            found=profile,
            expected=f"a folder with config.yaml, or {', '.join(names)}",
            remedy=did_you_mean(profile, names),
        )
    file = folder / "config.yaml"
    settings = read_yaml(file)
    executor = settings.get("executor", "local")
    if executor != "local" and not find_spec(f"snakemake_executor_plugin_{executor}"):
        raise InputError(
            f"the plugin of Snakemake for {executor} is not installed",
            file=file,
            remedy=f'pip install "itm-core[cluster]", or snakemake-executor-plugin-{executor}',
        )
    return folder.resolve(), settings
