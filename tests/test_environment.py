from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from itm_core import environment

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NEEDED = [
    Requirement(line)
    for line in [*PROJECT["dependencies"], *(r for e in EXTRAS.values() for r in e)]
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


def test_conda_and_make_install_the_same_extras() -> None:
    of_make = re.search(r"^EXTRAS := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert of_make is not None
    assert f"[{of_make[1]}]" in conda()[1][1]
    assert set(of_make[1].split(",")) <= set(EXTRAS)


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


def test_a_changed_source_marks_the_commit_and_a_changed_record_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, record = tmp_path / "itm_core" / "x.py", tmp_path / "data" / "results" / "x.csv"
    for path in (source, record):
        path.parent.mkdir(parents=True)
        path.write_text("1\n")
    named = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "."], [*named, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(environment, "__file__", str(source))

    def commit() -> str:
        return str(environment.describe(torch.device("cpu"))["commit"])

    clean = commit()
    assert re.fullmatch(r"[0-9a-f]{12}", clean)
    record.write_text("1\n2\n")
    assert commit() == clean
    source.write_text("2\n")
    assert commit() == f"{clean}+"
