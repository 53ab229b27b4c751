"""``itm bench``: time and memory of the methods on this machine, and their record.

Page: "What it costs".
"""

from __future__ import annotations

import argparse
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from itm_core import option_types

if TYPE_CHECKING:
    import pandas as pd

COUNT = option_types.whole(most=10**7)  # a hundred times the largest datasets


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``bench`` to the commands."""
    outer = commands.add_parser("bench", help="measure speed and memory; check the record")
    outer.set_defaults(group="read and record")
    inner = outer.add_subparsers(required=True, metavar="PART")
    command = inner.add_parser("scoring", help="each method, its naive reference, the bare product")
    _scoring_options(command)
    command.set_defaults(run=_scoring)
    command = inner.add_parser("growth", help="time and memory as the gallery grows")
    command.add_argument("--methods", nargs="+", metavar="METHOD", default=["SCAN t2i", "CHAN"])
    command.add_argument("--images", nargs="+", type=COUNT, help="default: 1000 to 16000")
    command.add_argument("--captions", type=COUNT, default=50)
    _shared_options(command)
    command.set_defaults(run=_growth)
    command = inner.add_parser("training", help="time and memory of a training step")
    command.add_argument("recipes", nargs="*", metavar="RECIPE", help="default: one of each kind")
    command.add_argument(
        "--batch", type=option_types.whole(2, 10**7), default=128, help="pairs; default 128"
    )
    command.add_argument("--repeats", type=COUNT, help="default: 3 on a CPU, 20 on CUDA")
    command.add_argument("--precision", default="float32", help="float32 or tf32")
    command.add_argument("--tile", type=COUNT, help="largest tensor of a tile, in floats")
    _shared_options(command)
    command.set_defaults(run=_training)
    command = inner.add_parser("spread", help="one training under several rounding variants")
    _spread_options(command)
    command.set_defaults(run=_spread)
    for name, (text, add_options) in OTHERS.items():
        command = inner.add_parser(name, help=text)
        add_options(command)
        command.set_defaults(run=_other, part=name)


def _scoring_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--methods", nargs="+", metavar="METHOD", help="default: all")
    for name, value, text in (
        ("images", 100, "number of images"),
        ("captions", 500, "number of captions; MSCOCO 5K is --images 5000 --captions 25000"),
        ("width", 1024, "D"),
        ("similarity", 256, "K"),
        ("reference-captions", 500, "number of captions on which the reference is timed"),
    ):
        command.add_argument(
            f"--{name}", type=COUNT, default=value, help=f"{text}; default {value}"
        )
    command.add_argument("--repeats", type=COUNT, help="default: 7, for slow methods 3")
    command.add_argument("--precision", default="float32", help="float32, tf32 or bfloat16")
    command.add_argument("--compile", action="store_true", help="also time ours compiled by torch")
    command.add_argument("--check", action="store_true", help="fail when slower than the record")
    _shared_options(command)


def _loading_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--images", type=COUNT, default=113_287)
    command.add_argument("--batches", type=COUNT, default=300)
    command.add_argument("--steps", type=COUNT, default=5)
    command.add_argument("--recipe", default="scan-t2i-mean-coco")
    command.add_argument("--device", default="cpu")
    command.add_argument("--feature-cache", default="auto", help="auto, never or float16")
    command.add_argument("--dense", action="store_true", help="random features, not a sparse file")
    command.add_argument(
        "--folder", type=option_types.path, help="for the file; default: a temporary folder"
    )


def _search_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--images", type=COUNT, default=1_000_000)
    command.add_argument("--queries", type=COUNT, default=100)
    command.add_argument("--pictures", type=COUNT, default=16_000)
    command.add_argument("--recipe", default="scan-t2i-mean-smoke")
    command.add_argument("--kind", default="float16", help="float32, float16 or int8")
    command.add_argument("--threads", type=option_types.threads, default=2)
    command.add_argument("--folder", type=option_types.path, default=Path("data/search"))


def _spread_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("recipes", nargs="*", metavar="RECIPE", help="default: one of each kind")
    command.add_argument("--dataset", type=option_types.path, default=Path("data/scenes-small"))
    command.add_argument(
        "--seeds", nargs="+", type=option_types.seed, default=[0, 1, 2], metavar="SEED"
    )
    command.add_argument("--variants", nargs="+", metavar="VARIANT", help="default: all")
    command.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="changes")
    command.add_argument(
        "--root", type=option_types.path, default=Path("data/runs-spread"), help="of the runs"
    )
    command.add_argument("--record", action="store_true", help="write to data/results/")


OTHERS = {
    "loading": ("time and memory of loading a large training split", _loading_options),
    "search": ("search in two stages, up to a million images", _search_options),
}


def _shared_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="cpu", help="cpu or cuda")
    command.add_argument(
        "--threads", type=option_types.threads, default=os.cpu_count(), help="of a CPU"
    )
    command.add_argument("--record", action="store_true", help="write to data/results/")


def _scoring(options: argparse.Namespace) -> int:
    import torch

    from itm_book.bench import record
    from itm_book.bench.scoring import METHODS, ScoringSettings, time_scoring

    _check_record(options)
    torch.set_num_threads(options.threads)
    names = ("images", "captions", "width", "similarity", "reference_captions")
    settings = ScoringSettings(
        methods=tuple(options.methods or METHODS),
        device=options.device,
        precision=options.precision,
        compile=options.compile,
        repeats=options.repeats,
        **{name: getattr(options, name) for name in names},
    )
    recorded = record.read("scoring") if options.check else None
    regressions = []
    for timing in time_scoring(settings):
        print(timing.line(), flush=True)
        rows = record.scoring_rows([timing], settings)
        if recorded is not None:
            regressions += record.regressions(rows, recorded)
        _save(options, "scoring", rows)
    print("\n".join(regressions))
    return 1 if regressions else 0


def _check_record(options: argparse.Namespace) -> None:
    """Raise `InputError` before anything is measured that could not be recorded."""
    from itm_book.records.commits import require_committed
    from itm_core.environment import current_commit

    if options.record:
        require_committed(current_commit())


def _save(options: argparse.Namespace, kind: str, rows: pd.DataFrame) -> None:
    """Record rows with ``--record``, at once, so that an interrupted command keeps them."""
    from itm_book.bench import record

    if options.record:
        record.save(kind, rows)


def _growth(options: argparse.Namespace) -> int:
    import torch

    from itm_book.bench import growth, record

    _check_record(options)
    torch.set_num_threads(options.threads)
    images, points = options.images or growth.IMAGES, []
    for point in growth.time_growth(options.methods, images, options.captions, options.device):
        print(point.line(), flush=True)
        points.append(point)
        _save(options, "growth", record.growth_rows([point], options.device))
    for name in options.methods:
        of_method = [point for point in points if point.method == name]
        sizes, seconds = [p.images for p in of_method], [p.seconds for p in of_method]
        print(f"{name}: time grows as images ** {growth.exponent(sizes, seconds):.2f}")
    return 0


def _training(options: argparse.Namespace) -> int:
    import torch

    from itm_book.bench import record, training

    _check_record(options)
    torch.set_num_threads(options.threads)
    names = ("batch", "device", "precision", "repeats", "tile")
    benchmarks = [
        training.StepSettings(
            recipe=recipe,
            negatives=negatives,
            **{name: getattr(options, name) for name in names},
        )
        for recipe in options.recipes or training.RECIPES
        for negatives in training.NEGATIVES
    ]
    for timing in training.time_steps(benchmarks):
        print(timing.line(), flush=True)
        _save(options, "training", record.training_rows([timing], options.device))
    return 0


def _spread(options: argparse.Namespace) -> int:
    from itm_book.bench import spread
    from itm_book.records import rounding
    from itm_core.data.dataset import load_dataset

    load_dataset(options.dataset)  # raises for a broken dataset before anything is trained
    trainings = spread.variant_trainings(
        options.recipes or spread.RECIPES,
        options.seeds,
        options.variants or list(spread.VARIANTS),
        dataset=str(options.dataset),
        changes=tuple(options.changes),
        root=str(options.root),
    )
    for row in spread.train_all(trainings, record=options.record):
        print(rounding.line(row), flush=True)
    return 0


def _other(options: argparse.Namespace) -> int:
    import_module(f"itm_book.bench.{options.part}").measure(options)
    return 0
