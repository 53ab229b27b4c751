"""``itm score``: the scores of a run on any split, at once or as a job of shards.

Page: "Batches", "A large gallery".
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``score`` to the commands."""
    command = commands.add_parser("score", help="score a split with a finished run")
    command.add_argument("folder", type=Path, metavar="RUN", help="the folder of a finished run")
    command.add_argument("dataset", type=Path, metavar="DATASET", help="in the SCAN layout")
    command.add_argument("--split", default="test", help="default: test")
    command.add_argument("--out", type=Path, required=True, help="the folder of the results")
    command.add_argument(
        "--shards", type=int, default=0, help="cut the images into so many jobs (default: none)"
    )
    command.add_argument(
        "--top", type=int, default=0, metavar="K", help="keep the best K, not the whole matrix"
    )
    command.add_argument("--workers", type=int, help="shards at once; default: one for each core")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    command.add_argument("--profile", default="local", help="local, slurm, kubernetes or a folder")
    command.set_defaults(run=score)


def score(given: argparse.Namespace) -> int:
    """Score, print the numbers and where they are; 1 when a shard failed."""
    from itm_core import retrieval, runs
    from itm_core.batch import score_job
    from itm_core.files import read_json

    made = score_job.prepare(
        runs.load(given.folder),
        given.dataset,
        given.out,
        split=given.split,
        shards=given.shards,
        top=given.top,
        workers=given.workers,
        device=given.device,
        profile=given.profile,
    )
    report = score_job.score(made)
    if report is not None:
        print("\n".join(report.lines()))
        return 1
    found = read_json(made.out / score_job.DONE)
    if made.top:
        print("  ".join(f"{name} {value:.1f}" for name, value in found.items()))
    else:
        print(retrieval.text(found))
    print(f"scores: {made.out / (score_job.LISTS if made.top else score_job.SCORES)}")
    return 0
