from __future__ import annotations

import pytest

from itm_core.errors import InputError


def test_a_notebook_shows_the_message_alone(capsys: pytest.CaptureFixture[str]) -> None:
    IPython = pytest.importorskip("IPython.core.interactiveshell")
    shell = IPython.InteractiveShell(colors="nocolor")
    shell.user_ns["InputError"] = InputError
    shell.run_cell(
        "def read():\n    raise InputError('too few', file='a.txt', remedy='more')\nread()"
    )
    assert capsys.readouterr().out.strip() == "InputError: a.txt: too few. Remedy: more"
