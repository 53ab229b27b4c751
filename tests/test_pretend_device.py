"""Every kind of recipe on the pretend accelerator, in a process of its own.

Autograd counts the devices at the first backward pass of a process: one that comes later has no
queue. So `tests.pretend_device_checks` cannot share a process with other tests.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.places import PROJECT


def test_every_recipe_on_a_device_that_is_not_there(request: pytest.FixtureRequest) -> None:
    slow = ["--slow"] if request.config.getoption("--slow") else []
    checks = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *slow]
    done = subprocess.run(
        [*checks, "tests/pretend_device_checks.py"], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-6000:]
