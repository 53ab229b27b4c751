"""The image of the Kubernetes profile: what it is called, what it holds, and who it runs as."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from itm_book.batch.profiles import PROFILES
from tests.places import PROJECT

TEXT = (PROJECT / "Containerfile").read_text(encoding="utf-8")
IGNORED = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
RULES = [line for line in IGNORED if line and not line.startswith("#")]


def steps(name: str) -> list[str]:
    """What stands behind an instruction, its lines joined, in order."""
    joined = re.sub(r"\\\n\s*", "", TEXT)
    return re.findall(rf"^{name} (.+)$", joined, re.MULTILINE)


def sent(path: str) -> bool:
    """Whether a path of the project is sent to the builder: the last rule that matches it says."""
    parents = [path.rsplit("/", up)[0] for up in range(path.count("/") + 1)]
    let_through = True
    for rule in RULES:
        pattern = rule.removeprefix("!").removeprefix("**/")
        names = path.split("/") if "**/" in rule else parents
        if any(fnmatch(name, pattern) for name in names):
            let_through = rule.startswith("!")
    return let_through


def test_the_profile_runs_the_image_that_the_file_builds() -> None:
    profile = yaml.safe_load((PROFILES / "kubernetes" / "config.yaml").read_text(encoding="utf-8"))
    built = re.findall(r"#\s+docker (?:build .*--tag|push) (\S+)", TEXT)
    assert built == [profile["container-image"]] * 2


def test_its_python_is_that_of_the_locked_versions() -> None:
    (base,) = steps("FROM")
    version = re.fullmatch(r"python:(\d+\.\d+)-slim", base)
    assert version
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    assert f"Python {version[1]})" in lock.split("\n#\n")[0]


def test_the_environment_is_made_by_make_and_comes_first() -> None:
    (made,) = [step for step in steps("RUN") if "make " in step and "apt-get" not in step]
    assert made.startswith('make .venv TORCH="$TORCH"')
    assert re.search(r"^\.venv:", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert steps("WORKDIR") == ["/opt/itm"]
    assert any(line.startswith("PATH=/opt/itm/.venv/bin:$PATH") for line in steps("ENV"))


def test_it_does_not_run_as_root() -> None:
    """By number: Kubernetes cannot tell whether a name is that of root."""
    assert steps("USER") == ["1000"]
    order = [TEXT.index(f"\n{name} ") for name in ("USER", "COPY", "CMD")]
    assert order == sorted(order), "what follows would belong to root"


def test_all_that_is_installed_is_sent_and_no_more() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [*wheel["packages"], *wheel["force-include"], project["project"]["readme"]]
    needed += [*project["project"]["license-files"], "Makefile", "requirements.lock"]
    needed += ["_config.yml"]  # by which the package knows that the files of a clone are there
    for path in (*needed, "itm_core/cli.py", "pyproject.toml"):
        assert (PROJECT / path).exists()
        assert sent(path), path
    for rule in RULES:
        assert not rule.startswith("!") or rule[1:] in (*needed, "pyproject.toml")


def test_what_is_sent_is_enough_for_make_and_for_the_commands(tmp_path: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    for path in filter(sent, tracked.stdout.splitlines()):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / path, tmp_path / path)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    made = re.findall(r"-m (itm_book\S+)", (PROJECT / "Makefile").read_text(encoding="utf-8"))
    assert made == ["itm_book.pages.clean_notebooks"]
    for words in (made, ["itm_core", "grid"], ["itm_core", "data", "list"]):
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "path",
    [
        *(".git/config", ".env", ".venv/bin/python", "secrets.yaml", "itm_core/.netrc"),
        *("data/runs/a", "data/f30k_precomp/train_ims.npy", "notebooks/scan.ipynb"),
        "itm_core/__pycache__/cli.pyc",
    ],
)
def test_nothing_else_is_sent(path: str) -> None:
    assert not sent(path)
