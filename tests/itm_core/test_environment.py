from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from itm_core import environment, parallel
from itm_core.environment import current_commit, describe, pick_device
from tests.places import PROJECT

ROOT = PROJECT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NEEDED = [
    Requirement(line)
    for line in [*PROJECT["dependencies"], *(r for e in EXTRAS.values() for r in e)]
    if not line.startswith("itm-core[")  # an extra that includes another one
]
LOCK = [
    line
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if line and not line.startswith("#")
]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, Version]:
    return {plain(name): Version(v) for name, v in (line.split("==") for line in LOCK)}


def requirements(name: str) -> list[Requirement]:
    """Return what an installed package needs here, but for what comes with the hardware."""
    try:
        lines = distribution(name).requires or []
    except PackageNotFoundError:  # needed on another version of Python only
        return []
    needs = [Requirement(line) for line in lines]
    return [
        need
        for need in needs
        if (need.marker is None or need.marker.evaluate({"extra": ""}))
        and need.name != "setuptools"
        and not need.name.startswith(("nvidia-", "cuda-", "triton"))
    ]


def conda() -> tuple[list[str], list[str]]:
    """Return what environment.yml asks of conda, and what of pip."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    return [entry for entry in listed if isinstance(entry, str)], pip


def test_every_dependency_has_a_lower_bound() -> None:
    for need in NEEDED:
        assert any(part.operator == ">=" for part in need.specifier), need


def test_the_lock_holds_a_fitting_version_of_everything_needed() -> None:
    versions = locked()
    for need in NEEDED:
        assert plain(need.name) in versions, f"{need.name}: run `make lock`"
        assert need.specifier.contains(versions[plain(need.name)]), need


def test_the_lock_is_closed_and_portable() -> None:
    versions = locked()
    assert len(versions) == len(LOCK)
    assert not [line for line in LOCK if "+" in line or "@" in line or "/" in line]
    for name in versions:
        for need in requirements(name):
            assert plain(need.name) in versions, f"{name} needs {need}: run `make lock`"


def test_environment_yml_holds_no_second_list() -> None:
    of_conda, of_pip = conda()
    assert of_conda == [f"python{PROJECT['requires-python']}", "pip"]
    assert of_pip[0] == "--constraint requirements.lock"
    assert len(of_pip) == 2
    assert re.fullmatch(r"--editable \.\[[a-z,]+\]", of_pip[1])


def test_conda_and_make_install_every_extra() -> None:
    of_make = re.search(r"^EXTRAS := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert of_make is not None
    assert f"[{of_make[1]}]" in conda()[1][1]
    assert of_make[1].split(",") == sorted(EXTRAS)


def test_readme_commands_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "book").glob("*.md")]
    told = {
        target
        for page in pages
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert {"book", "test", "lab"} <= told <= targets


def test_the_sources_are_those_of_one_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == distribution("itm-core").version
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


# --- the commit --------------------------------------------------------------------------------


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git checkout with a package of two modules, a record and a page, which is this package."""
    for name in ("itm_core/environment.py", "itm_core/part/other.py", "data/results/runs.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    for name in ("README.md", "book/task.md", "tests/test_a.py", ".gitignore", "Makefile"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("*.log\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "itm_core" / "environment.py"))
    return tmp_path


def test_a_commit_has_no_plus_until_code_changes(checkout: Path) -> None:
    commit = current_commit()
    assert commit is not None
    assert re.fullmatch("[0-9a-f]{12}", commit)
    for name in ("data/results/runs.csv", "README.md", "book/task.md", "tests/test_a.py"):
        (checkout / name).write_text("2\n")  # no number depends on it
    (checkout / "notes.txt").touch()
    (checkout / "itm_core" / "a.log").touch()
    assert current_commit() == commit
    git(checkout, "commit", "--all", "--quiet", "--message", "second")
    assert current_commit() not in (commit, None)


@pytest.mark.parametrize(
    "name", ["itm_core/part/other.py", "Makefile", "itm_core/new.py", "itm_core/part/new.py"]
)
def test_changed_and_unknown_code_is_no_commit(checkout: Path, name: str) -> None:
    commit = current_commit()
    (checkout / name).write_text("2\n")
    assert current_commit() == f"{commit}+"
    git(checkout, "add", ".")
    assert current_commit() == f"{commit}+"
    git(checkout, "commit", "--quiet", "--message", "second")
    assert not str(current_commit()).endswith("+")


def test_deleted_code_is_a_change(checkout: Path) -> None:
    (checkout / "itm_core" / "part" / "other.py").unlink()
    assert str(current_commit()).endswith("+")


def test_a_package_that_git_does_not_know_is_in_no_commit(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    installed = checkout / "lib" / "itm_core"  # below the checkout of something else
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "itm_core"
    for folder in (installed, elsewhere):
        folder.mkdir(parents=True)
        (folder / "environment.py").touch()
        monkeypatch.setattr(environment, "__file__", str(folder / "environment.py"))
        assert current_commit() is None
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(environment, "__file__", str(checkout / "itm_core" / "environment.py"))
    assert current_commit() is None


def test_a_commit_that_git_does_not_tell_in_time_is_missed_aloud(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(environment, "GIT_SECONDS", 1e-6)
    assert current_commit() is None
    assert "a run that starts now cannot be recorded" in caplog.text


def test_a_run_notes_the_commit() -> None:
    assert describe(pick_device("cpu"))["commit"] == environment.current_commit()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems give a process all cores")
def test_the_cores_are_those_that_the_process_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "CPU_SHARE", tmp_path / "none")
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})  # two of them, by Slurm
    assert describe(pick_device("cpu"))["cores"] == 2


FAULTS = """
import resource
import torch
{first}
torch.set_num_threads(1)
def step():
    x = torch.ones(3_000_000)
    return (x + 1) * 2
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.parametrize("chosen", [{}, {"MALLOC_TRIM_THRESHOLD_": "131072"}])
def test_freed_memory_is_kept_unless_the_user_has_chosen(chosen: dict[str, str]) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", FAULTS.format(first="import itm_core.environment")]
    shown = subprocess.run(command, env=clean | chosen, capture_output=True, text=True, check=True)
    faults = int(shown.stdout)  # of some 40,000 pages that are made anew
    assert faults > 10_000 if chosen else faults < 5_000
