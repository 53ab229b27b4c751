"""Scoring jobs: killed and resumed, merged exactly, refused where they would mix."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itm_book.batch import engine, score_job, shard, top_lists
from itm_book.batch.score_job import ScoreJob
from itm_core.cli import main
from itm_core.data.dataset import load_split
from itm_core.errors import InputError
from itm_core.evaluation import retrieval, scoring
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments import runs
from itm_core.experiments.prepare import encode
from itm_core.json_files import read_json, write_json
from tests.itm_book.batch.stand_in import wait_for
from tests.micro import SMALL, write_dataset

SHARDS = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    place = tmp_path_factory.mktemp("gallery")
    write_dataset(place / "data" / "micro", images=13)
    given = {"overrides": SMALL, "root": place / "runs", "device": "cpu", "progress": False}
    return runs.train_or_load(place / "data" / "micro", "scan-t2i-mean", **given)


def data(run: runs.Run) -> Path:
    """The dataset of the run."""
    return run.folder.parents[3] / "data" / "micro"


def prepare(run: runs.Run, out: Path, **more: object) -> ScoreJob:
    given = {"shards": SHARDS, "device": "cpu", "workers": 2} | more
    return score_job.prepare([run], data(run), out, **given)  # type: ignore[arg-type]


def score_in_this_process(planned: ScoreJob, jobs: slice = slice(None)) -> None:
    """What the batch does with a process for each shard."""
    told = planned.content(planned.jobs)
    for job in planned.jobs[jobs]:
        shard.score_shard(job.place, job.rows, told)


def at_once(run: runs.Run) -> np.ndarray:
    split = load_split(data(run), "test")
    return score_matrix(run.matcher(), split.regions, encode(split, run.vocabulary))


def test_a_job_that_is_killed_loses_nothing(run: runs.Run, tmp_path: Path) -> None:
    planned = prepare(run, tmp_path / "out")
    words = ["score", str(run.folder), str(planned.split.folder), "--out", str(planned.out)]
    words += ["--shards", str(SHARDS), "--workers", "1", "--device", "cpu"]
    command = [sys.executable, "-m", "itm_core", *words]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    wait_for(lambda: any(job.state == "finished" for job in planned.jobs))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = [job for job in planned.jobs if job.state == "finished"]
    assert 0 < len(kept) < SHARDS
    marked = {job.name: np.load(job.place) + 1 for job in kept}
    for job in kept:  # a mark that would be gone if it were scored anew
        np.save(job.place, marked[job.name])
    assert main([*words[:-4], "--workers", "2", "--device", "cpu"]) == 0
    scores, whole = np.load(planned.out / "scores.npy"), at_once(run)
    for job in planned.jobs:
        mark = float(job in kept)
        np.testing.assert_allclose(scores[job.rows], whole[job.rows] + mark, atol=1e-6)
    log = (planned.home / "snakemake.log").read_text()
    assert log.count("rule experiment:") == SHARDS - len(kept)
    assert not list(planned.out.glob("*shard-*")), "the shards are in the whole now"


def test_a_clean_up_that_was_interrupted_is_finished(run: runs.Run, tmp_path: Path) -> None:
    planned = prepare(run, tmp_path)
    score_in_this_process(planned)
    score_job.merge(planned)
    planned.jobs[0].place.unlink()
    assert [job.state for job in planned.jobs] == ["finished"] * SHARDS, "it is in the whole"
    assert score_job.score(planned, progress=False) is None
    assert not list(tmp_path.glob("*shard-*"))
    made = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert score_job.score(planned, progress=False) is None
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == made


def test_shards_are_merged_and_removed_under_the_lock_of_their_batch(
    run: runs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, merge, forget = prepare(run, tmp_path), score_job.merge, score_job.Shard.forget
    score_in_this_process(planned)

    def refused(what: Callable[[Any], None]) -> Callable[[Any], None]:
        def call(of: Any) -> None:
            with pytest.raises(InputError, match="being run by another process"):
                engine.run(planned, progress=False)
            what(of)

        return call

    monkeypatch.setattr(score_job, "merge", refused(merge))
    monkeypatch.setattr(score_job.Shard, "forget", refused(forget))
    assert score_job.score(planned, progress=False) is None
    assert np.load(tmp_path / "scores.npy").shape == (13, 65)
    assert not list(tmp_path.glob("*shard-*"))


def test_shards_are_the_matrix_to_the_bit(
    run: runs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut where a chunk ends; elsewhere to rounding, with the same ranks."""
    for size, exact in ((scoring.REGIONS_AT_ONCE, False), (2, True)):
        monkeypatch.setattr(scoring, "REGIONS_AT_ONCE", size)
        planned = prepare(run, tmp_path / str(size))
        score_in_this_process(planned)
        score_job.merge(planned)
        scores, whole = np.load(planned.out / "scores.npy"), at_once(run)
        np.testing.assert_allclose(scores, whole, atol=1e-6)
        assert not exact or np.array_equal(scores, whole)
        assert read_json(planned.out / "metrics.json") == retrieval.report(whole)


def test_lists_are_those_of_the_matrix(run: runs.Run, tmp_path: Path) -> None:
    planned = prepare(run, tmp_path, top=10)
    score_in_this_process(planned)
    score_job.merge(planned)
    whole = at_once(run)
    images, captions = np.arange(13), np.arange(65)
    right = captions // 5 == images[:, None]
    with np.load(tmp_path / "top.npz") as found:
        for side, scores, places, own in (
            ("i2t", whole, captions, right),
            ("t2i", whole.T, images, right.T),
        ):
            lists = top_lists.best(top_lists.entries(scores, places, own), 10)
            np.testing.assert_allclose(
                found[f"{side}_scores"], top_lists.scores_of(lists), atol=1e-6
            )
            listed = np.take_along_axis(scores, found[f"{side}_places"], 1)
            np.testing.assert_allclose(listed, found[f"{side}_scores"], atol=1e-6)
    found = read_json(tmp_path / "metrics.json")
    expected = retrieval.metrics(whole).flat()
    assert found == pytest.approx({name: expected[name] for name in retrieval.NUMBERS})


def test_a_shard_that_fails_is_named_and_scored_at_the_next_start(
    run: runs.Run, tmp_path: Path
) -> None:
    planned = prepare(run, tmp_path)
    planned.home.mkdir()
    told = planned.content(planned.jobs) | {"gpus": 0, "runs": [str(tmp_path / "none")]}
    write_json(planned.home / "cells.json", told)
    words = [str(planned.home / "cells.json"), planned.jobs[1].name]
    assert shard.main(words) == 1
    assert [job.state for job in planned.jobs] == ["empty", "failed", "empty"]
    assert "no finished run here" in planned.jobs[1].error
    engine._write(planned, planned.jobs)
    assert planned.jobs[1].state == "empty"
    assert shard.main(words) == 0
    assert planned.jobs[1].state == "finished"


def test_all_at_once_needs_no_batch(
    run: runs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", str(run.folder), str(data(run)), "--device", "cpu"]
    words += ["--out", str(tmp_path)]
    assert main(words) == 0
    assert np.array_equal(np.load(tmp_path / "scores.npy"), at_once(run))
    printed = capsys.readouterr().out
    assert "rSum" in printed
    made = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == made
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"shards": 14}, "expected 1 to 13 shards"),
        ({"shards": -1}, "wrong number of shards"),
        ({"shards": 0, "top": 3}, "wrong number of shards"),
        ({"top": -1}, "wrong number of shards"),
        ({"split": "val"}, "no val split here"),
        ({"workers": 0}, "too few workers"),
    ],
)
def test_what_makes_no_sense_is_refused(
    more: dict[str, object], message: str, run: runs.Run, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        prepare(run, tmp_path, **more)
    assert not list(tmp_path.iterdir())


def test_jobs_do_not_mix(run: runs.Run, tmp_path: Path) -> None:
    prepare(run, tmp_path)
    prepare(run, tmp_path, workers=1)
    with pytest.raises(InputError, match="holds another scoring job; expected shards 4, found 3"):
        prepare(run, tmp_path, shards=4)
    narrow = tmp_path / "narrow"
    write_dataset(narrow)
    np.save(narrow / "test_ims.npy", np.zeros((12, 4, 3), np.float32))
    with pytest.raises(InputError, match="another width .* expected 11, .* found 3"):
        score_job.prepare([run], narrow, tmp_path / "other")


def test_a_folder_with_anything_else_is_refused(
    run: runs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    words = ["score", str(run.folder), str(data(run)), "--split", "dev", "--device", "cpu"]
    assert main([*words, "--out", str(run.folder)]) == 2
    printed = capsys.readouterr()
    assert "not a folder of scores; expected an empty folder, or one with job.json" in printed.err
    assert "name another folder with --out" in printed.err
    assert not printed.out
    after = {path: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    assert after == before
    (tmp_path / ".job.json.12.partial").touch()  # a process that was killed has left it
    assert prepare(run, tmp_path).out == tmp_path
    assert (tmp_path / "job.json").exists()


@pytest.mark.parametrize(
    ("top", "known"), [(1, "i2t_r1 t2i_r1"), (7, "i2t_r1 i2t_r5 t2i_r1 t2i_r5")]
)
def test_short_lists_show_the_recalls_that_they_reach(
    top: int, known: str, run: runs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", str(run.folder), str(data(run)), "--out", str(tmp_path), "--device", "cpu"]
    words += ["--shards", "2", "--workers", "1", "--top", str(top)]
    score_in_this_process(prepare(run, tmp_path, shards=2, top=top))
    assert main(words) == 0  # merges what is scored, without a batch
    values = capsys.readouterr().out.splitlines()[1].split()
    truth = retrieval.metrics(at_once(run)).flat()
    assert values == [f"{truth[name]:.1f}" for name in known.split()]


def test_a_damaged_shard_is_named(run: runs.Run, tmp_path: Path) -> None:
    for top in (0, 5):
        planned = prepare(run, tmp_path / str(top), top=top)
        score_in_this_process(planned)
        whole = planned.jobs[1].place.read_bytes()
        planned.jobs[1].place.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match=r"shard-0002-of-0003\.np.: this shard is damaged"):
            score_job.merge(planned)
        assert not (planned.out / "metrics.json").exists()


@pytest.mark.parametrize("name", ["slurm", "kubernetes"])
def test_clusters_take_the_job(name: str, run: runs.Run, tmp_path: Path) -> None:
    if not find_spec(f"snakemake_executor_plugin_{name}"):
        pytest.skip(f"snakemake-executor-plugin-{name} is not installed (extra: cluster)")
    planned = prepare(run, tmp_path, profile=name, workers=None)
    assert planned.remote
    planned.home.mkdir()
    engine._write(planned, planned.jobs)
    command = [sys.executable, *engine._arguments(planned), "--dry-run"]
    done = subprocess.run(command, cwd=planned.home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("rule experiment:") == SHARDS
