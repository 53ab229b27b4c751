"""``itm score``: scores of a run or an ensemble on any split, in one process or as shards.

Page: "Batches", "A large gallery", "Use the authors' checkpoints".
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from itm_book.commands.grid import add_profile, add_workers
from itm_core import option_types
from itm_core.command_parser import Commands, add_command, add_device
from itm_core.evaluation.recalls import NORMALISATIONS


def add(commands: Commands) -> None:
    """Add ``score`` to the commands."""
    command = add_command(
        commands,
        "score",
        "score a split with one run, or with an ensemble",
        score,
        "itm score data/models/scan-t2i data/flickr8k-regions",
        "itm score RUN OTHER_RUN data/f30k_precomp --split dev --shards 4",
        "itm score RUN data/f30k_precomp --normalise querybank",
        group="train and evaluate",
    )
    command.add_argument(
        "folders",
        type=option_types.path,
        nargs="+",
        metavar="RUN",
        help="a finished run or an imported checkpoint; scores of several are averaged",
    )
    command.add_argument(
        "dataset", type=option_types.path, metavar="DATASET", help="a folder in the SCAN layout"
    )
    command.add_argument(
        "--split", default="test", help="train, dev, test or one of your own; default: test"
    )
    command.add_argument(
        "--out",
        type=option_types.path,
        metavar="DIR",
        help="the folder of the results; default: one in data/scores",
    )
    command.add_argument(
        "--vocabulary",
        type=option_types.path,
        metavar="FILE",
        help="of imported checkpoints; default: the one imported with them, or the dataset's",
    )
    command.add_argument(
        "--folds",
        type=option_types.whole(0),
        default=0,
        metavar="N",
        help="also print the means over N folds of the images; 5 for MSCOCO 1K",
    )
    command.add_argument(
        "--shards",
        type=option_types.whole(0),
        default=0,
        help="divide the images into N jobs (default: none)",
        metavar="N",
    )
    command.add_argument(
        "--top",
        type=option_types.whole(0),
        default=0,
        metavar="K",
        help="keep the best K, not the full matrix",
    )
    command.add_argument(
        "--normalise",
        choices=NORMALISATIONS,
        help="also print the numbers of scores that are normalised against hubs; the querybank "
        "is of training queries, the others use all test queries together",
    )
    add_workers(command, "shards")
    add_device(command)
    add_profile(command)


def score(options: argparse.Namespace) -> int:
    """Score, print the metrics and the folder; return 1 when a shard failed."""
    from itm_book.batch import normalised_scores, score_job
    from itm_book.checkpoints.imported_runs import load_members
    from itm_core.evaluation import retrieval
    from itm_core.json_files import read_json

    normalised_scores.refuse_parts(options.normalise, options.top, options.folds)
    members = load_members(options.folders, dataset=options.dataset, vocabulary=options.vocabulary)
    for run in members:
        run.matcher()  # damaged weights are refused before anything is written
    job = score_job.prepare(
        members,
        options.dataset,
        options.out,
        split=options.split,
        shards=options.shards,
        top=options.top,
        folds=options.folds,
        vocabulary=options.vocabulary,
        workers=options.workers,
        device=options.device,
        profile=options.profile,
    )
    report = score_job.score(job)
    if report is not None:
        print("\n".join(report.lines()))
        return 1
    metrics = read_json(job.out / score_job.DONE)
    print(paper_row(metrics))
    if not job.top:
        print(retrieval.text(metrics))
    if options.folds:
        print(
            f"means over {options.folds} folds:\n{paper_row(score_job.folded(job, options.folds))}"
        )
    print(f"scores: {job.out / (score_job.LISTS if job.top else score_job.SCORES)}")
    if options.normalise:
        metrics, place = normalised_scores.normalise(job, options.normalise)
        print(f"{normalised_scores.text(metrics)}\n{paper_row(metrics)}\nscores: {place}")
    return 0


def paper_row(metrics: Mapping[str, float]) -> str:
    """Return the recalls as the papers' tables print them, under a heading.

    Recalls that short lists do not reach, and then rSum too, are left out.

    >>> names = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10", "rsum")
    >>> print(paper_row(dict(zip(names, (67.4, 90.3, 95.8, 48.6, 77.7, 85.2, 465), strict=True))))
     i2t R@1   R@5  R@10   t2i R@1   R@5  R@10    rSum
        67.4  90.3  95.8      48.6  77.7  85.2   465.0
    >>> print(paper_row({"i2t_r1": 67.4, "t2i_r1": 48.6}))
     i2t R@1   t2i R@1
        67.4      48.6
    """
    columns = [
        (f"{side}_r{cut}", f"{side} R@1" if cut == 1 else f"R@{cut}", first if cut == 1 else 6)
        for side, first in (("i2t", 8), ("t2i", 10))
        for cut in (1, 5, 10)
    ]
    columns.append(("rsum", "rSum", 8))
    shown = [column for column in columns if column[0] in metrics]
    heading = "".join(f"{title:>{width}}" for _, title, width in shown)
    return f"{heading}\n{''.join(f'{metrics[name]:{width}.1f}' for name, _, width in shown)}"
