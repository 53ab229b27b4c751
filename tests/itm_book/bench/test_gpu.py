"""The measurement on a GPU: no part can cost another, and what is missing has its reason."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from itm_book.bench import gpu, record
from itm_book.bench.gpu import Part, run_part
from itm_book.bench.gpu_checks import Check
from itm_core.cli import main

PROGRAMS = {
    "ends": 'print(\'{"check": "a", "measured": 3.0, "limit": 2.0}\')',
    "fails": "print('half'); raise ValueError('no such kernel')",
    "hangs": "import time; print('half', flush=True); time.sleep(60)",
    "dies": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    for name, text in PROGRAMS.items():
        (tmp_path / f"part_that_{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return [
        Part(name=name, module=f"part_that_{name}", arguments=[], seconds=30, remedy="a command")
        for name in PROGRAMS
    ]


def test_every_part_ends_with_a_result_or_a_reason(programs: list[Part]) -> None:
    ends, fails, dies = (run_part(programs[i]) for i in (0, 1, 3))  # 2 hangs
    assert ends.state == "done"
    assert gpu.checks_of(ends) == [Check(check="a", measured=3.0, limit=2.0)]
    assert fails.state == dies.state == "failed"
    assert fails.text == "half\n  ValueError: no such kernel. Try: a command"
    assert dies.text == "  status -9. Try: a command"
    assert gpu.checks_of(fails) == []


def test_a_part_that_hangs_is_stopped_at_its_limit(programs: list[Part]) -> None:
    hanging = replace(programs[2], seconds=3)
    started = time.perf_counter()
    outcome = run_part(hanging)
    assert time.perf_counter() - started < 30
    assert outcome.state == "took too long"
    assert outcome.text.endswith("the limit is 3 s. Try: a command")


def test_the_command_goes_on_after_a_failure_and_returns_1(
    programs: list[Part], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "parts", lambda *_, **__: [programs[1], programs[0]])
    monkeypatch.setattr(gpu, "pick_device", lambda _name: torch.device("meta"))
    assert gpu.measure(argparse.Namespace(device="meta", record=False)) == 1
    told = capsys.readouterr().out
    assert told.index("fails: failed") < told.index("ends: done")
    assert "a: 3 (at most 2); missed: 1.50 x the limit" in told


@pytest.mark.parametrize("device", ["cpu", "cuda:77"])
def test_without_a_gpu_there_is_one_message(
    device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "gpu", "--device", device]) == 2
    told = capsys.readouterr()
    assert not told.out
    assert len(told.err.strip().splitlines()) == 1
    assert "without a GPU" in told.err or "no such device" in told.err


def test_all_parts_fit_into_eight_minutes_and_are_real() -> None:
    parts = gpu.parts("cuda", "folder", recorded=True)
    assert sum(part.seconds for part in parts) <= 480
    assert len(parts) == 4
    for part in parts:
        if part.module == "itm_core":
            with pytest.raises(SystemExit) as ended:
                main([*part.arguments, "--help"])
            assert ended.value.code == 0
            assert part.arguments[-1] == "--record"
    assert gpu.TESTS.is_dir()


def test_checks_are_recorded_with_their_machine(tmp_path: Path) -> None:
    rows = record.check_rows([Check(check="a", measured=1.5, limit=2.0)], "cpu")
    record.save("gpu", rows.assign(commit="0123456789ab"), tmp_path)
    found = record.read("gpu", tmp_path).iloc[0]
    assert (found["check"], found["measured"], found["device"]) == ("a", 1.5, "cpu")


def test_a_number_that_is_none_meets_no_limit() -> None:
    check = Check(check="loss", measured=float("nan"), limit=1.0)
    assert not check.met
    assert check.missed_by == "nan x the limit"
