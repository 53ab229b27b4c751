"""``itm bench``: time and memory of the methods on this machine, and their record.

Page: "What it costs".
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from itm_core import option_types
from itm_core.command_parser import Commands, add_command, add_device, add_parts, add_root
from itm_core.parallel import cores

if TYPE_CHECKING:
    import pandas as pd

COUNT = option_types.whole(most=10**7)  # a hundred times the largest datasets


def add(commands: Commands) -> None:
    """Add ``bench`` to the commands."""
    inner = add_parts(
        commands,
        "bench",
        "measure speed and memory; check the record",
        "itm bench scoring --methods CHAN --captions 100",
        group="read and record",
    )
    command = add_command(
        inner,
        "scoring",
        "time each method, its naive reference, and the bare product",
        _scoring,
        'itm bench scoring --methods "SCAN t2i" CHAN --images 100 --captions 100',
    )
    _scoring_options(command)
    command = add_command(
        inner,
        "growth",
        "measure time and memory as the gallery grows",
        _growth,
        "itm bench growth --methods CHAN --images 1000 2000",
    )
    _growth_options(command)
    command = add_command(
        inner,
        "training",
        "measure time and memory of a training step",
        _training,
        "itm bench training scan-t2i-mean-f30k --batch 32 --repeats 3",
    )
    _training_options(command)
    command = add_command(
        inner,
        "spread",
        "repeat one training under several rounding variants",
        _spread,
        "itm bench spread scan-t2i-mean-smoke --seeds 0",
    )
    _spread_options(command)
    for name, (text, add_options, example) in OTHERS.items():
        add_options(add_command(inner, name, text, _other, example, part=name))


def _scoring_options(command: argparse.ArgumentParser) -> None:
    _methods_option(command, "all")
    for name, value, text in (
        ("images", 100, "number of images"),
        ("captions", 500, "number of captions; MSCOCO 5K is --images 5000 --captions 25000"),
        ("width", 1024, "D, the width of regions and words"),
        ("similarity", 256, "K, the width of similarity vectors"),
        ("reference-captions", 500, "number of captions on which the reference is timed"),
    ):
        _count_option(command, f"--{name}", value, text)
    _repeats_option(command, "7, for slow methods 3")
    command.add_argument(
        "--precision", default="float32", help="float32, tf32 or bfloat16; default: float32"
    )
    command.add_argument("--compile", action="store_true", help="also time ours compiled by torch")
    command.add_argument("--check", action="store_true", help="fail when slower than the record")
    _shared_options(command)


def _growth_options(command: argparse.ArgumentParser) -> None:
    _methods_option(command, "SCAN t2i and CHAN", ["SCAN t2i", "CHAN"])
    command.add_argument(
        "--images",
        nargs="+",
        type=COUNT,
        metavar="N",
        help="sizes of the gallery; default: 1000 to 16000",
    )
    _count_option(command, "--captions", 50, "number of captions")
    _shared_options(command)


def _training_options(command: argparse.ArgumentParser) -> None:
    _recipes_argument(command)
    command.add_argument(
        "--batch",
        type=option_types.whole(2, 10**7),
        default=128,
        metavar="N",
        help="pairs of a step; default: 128",
    )
    _repeats_option(command, "3 on a CPU, 20 on a GPU")
    command.add_argument("--precision", default="float32", help="float32 or tf32; default: float32")
    command.add_argument(
        "--tile", type=COUNT, metavar="N", help="largest tensor of a tile, in floats"
    )
    _shared_options(command)


def _loading_options(command: argparse.ArgumentParser) -> None:
    _count_option(command, "--images", 113_287, "of the training split, as MSCOCO has them")
    _count_option(command, "--batches", 300, "number of batches that are loaded")
    _count_option(command, "--steps", 5, "number of training steps that are timed")
    command.add_argument(
        "--recipe",
        default="scan-t2i-mean-coco",
        help="a name from `itm recipes`; default: scan-t2i-mean-coco",
    )
    add_device(command, "cpu")
    command.add_argument(
        "--feature-cache", default="auto", help="auto, never or float16; default: auto"
    )
    command.add_argument("--dense", action="store_true", help="random features, not a sparse file")
    command.add_argument(
        "--folder",
        type=option_types.path,
        metavar="DIR",
        help="for the file; default: a temporary folder",
    )


def _search_options(command: argparse.ArgumentParser) -> None:
    _count_option(command, "--images", 1_000_000, "of the largest gallery")
    _count_option(command, "--queries", 100, "sentences that are searched with")
    _count_option(
        command, "--pictures", 16_000, "that are rendered; others are made of their parts"
    )
    command.add_argument(
        "--recipe",
        default="scan-t2i-mean-smoke",
        help="a name from `itm recipes`; default: scan-t2i-mean-smoke",
    )
    command.add_argument(
        "--kind", default="float16", help="of regions: float32, float16 or int8; default: float16"
    )
    command.add_argument(
        "--threads", type=option_types.threads, default=2, metavar="N", help="of a CPU; default: 2"
    )
    command.add_argument(
        "--folder",
        type=option_types.path,
        default=Path("data/search"),
        metavar="DIR",
        help="of the gallery; default: data/search",
    )
    _record_option(command)


def _spread_options(command: argparse.ArgumentParser) -> None:
    _recipes_argument(command)
    command.add_argument(
        "--dataset",
        type=option_types.path,
        default=Path("data/scenes-small"),
        metavar="DIR",
        help="a folder in the SCAN layout; default: data/scenes-small",
    )
    command.add_argument(
        "--seeds",
        nargs="+",
        type=option_types.seed,
        default=[0, 1, 2],
        metavar="SEED",
        help="of the trainings; default: 0 1 2",
    )
    command.add_argument(
        "--variants", nargs="+", metavar="VARIANT", help="of the rounding; default: all"
    )
    command.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="PART.KEY=VALUE",
        dest="changes",
        help="change settings of the recipes, e.g. training.epochs=1",
    )
    add_root(command, "data/runs-spread")
    _record_option(command)


def _gpu_options(command: argparse.ArgumentParser) -> None:
    add_device(command, "cuda")
    _record_option(command)


OTHERS = {
    "gpu": (
        "measure on a GPU, in at most eight minutes, what the book has not yet measured there",
        _gpu_options,
        "itm bench gpu --record",
    ),
    "loading": (
        "measure time and memory of loading a large training split",
        _loading_options,
        "itm bench loading --images 1000 --batches 5",
    ),
    "search": (
        "measure the search in two stages, up to a million images",
        _search_options,
        "itm bench search --images 20000 --queries 10",
    ),
}


def _count_option(command: argparse.ArgumentParser, name: str, value: int, text: str) -> None:
    command.add_argument(
        name, type=COUNT, default=value, metavar="N", help=f"{text}; default: {value}"
    )


def _methods_option(
    command: argparse.ArgumentParser, default: str, value: list[str] | None = None
) -> None:
    command.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD",
        default=value,
        help=f'such as "SCAN t2i" or CHAN; default: {default}',
    )


def _recipes_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "recipes",
        nargs="*",
        metavar="RECIPE",
        help="names from `itm recipes`; default: one of each kind",
    )


def _repeats_option(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument(
        "--repeats",
        type=COUNT,
        metavar="N",
        help=f"measurements, of which the median counts; default: {default}",
    )


def _record_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--record", action="store_true", help="write to data/results/")


def _shared_options(command: argparse.ArgumentParser) -> None:
    add_device(command, "cpu")
    command.add_argument(
        "--threads",
        type=option_types.threads,
        default=cores(),
        metavar="N",
        help="of a CPU; default: one for each core",
    )
    _record_option(command)


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
    timings = []
    for timing in time_scoring(settings):
        print(timing.line(), flush=True)
        timings.append(timing)
        _save(options, "scoring", record.scoring_rows([timing], settings))
    if recorded is None:
        return 0
    slower = record.regressions(record.scoring_rows(timings, settings), recorded)
    for sentence in slower:
        print(sentence)
    return 1 if slower else 0


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
        if len(set(sizes)) > 1:
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
    return import_module(f"itm_book.bench.{options.part}").measure(options) or 0
