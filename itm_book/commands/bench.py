"""``itm bench``: what the methods cost here, beside what is recorded.

Page: "What it costs".
"""

from __future__ import annotations

import argparse
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``bench`` to the commands."""
    outer = commands.add_parser("bench", help="measure speed and memory, beside twin and floor")
    inner = outer.add_subparsers(required=True, metavar="PART")
    command = inner.add_parser("scoring", help="each method, its plain twin, the bare product")
    command.add_argument("--methods", nargs="+", metavar="METHOD", help="default: all")
    for name, value, what in (
        ("images", 100, "how many"),
        ("captions", 500, "how many; MSCOCO 5K is --images 5000 --captions 25000"),
        ("width", 1024, "D"),
        ("similarity", 256, "K"),
        ("twin-captions", 500, "on how many the loop is timed"),
    ):
        command.add_argument(f"--{name}", type=int, default=value, help=f"{what}; default {value}")
    command.add_argument("--repeats", type=int, help="default: 7, of slow methods 3")
    command.add_argument("--precision", default="float32", help="float32, tf32 or bfloat16")
    command.add_argument("--compile", action="store_true", help="ours through torch.compile too")
    command.add_argument("--check", action="store_true", help="fail where the record is better")
    _add_shared(command)
    command.set_defaults(run=_scoring)
    command = inner.add_parser("growth", help="time and memory as the gallery grows")
    command.add_argument("--methods", nargs="+", metavar="METHOD", default=["SCAN t2i", "CHAN"])
    command.add_argument("--images", nargs="+", type=int, help="default: 1000 to 16000")
    command.add_argument("--captions", type=int, default=50)
    _add_shared(command)
    command.set_defaults(run=_growth)
    command = inner.add_parser("training", help="time and memory of a training step")
    command.add_argument("recipes", nargs="*", metavar="RECIPE", help="default: one of each kind")
    command.add_argument("--batch", type=int, default=128, help="pairs; default 128")
    command.add_argument("--repeats", type=int, help="default: 3 on a CPU, 20 on CUDA")
    command.add_argument("--precision", default="float32", help="float32 or tf32")
    command.add_argument("--tile", type=int, help="floats that a tile may hold")
    _add_shared(command)
    command.set_defaults(run=_training)
    command = inner.add_parser("spread", help="one training under several ways of rounding")
    _spread_options(command)
    command.set_defaults(run=_spread)
    for name, (what, add_options) in OTHERS.items():
        command = inner.add_parser(name, help=what)
        add_options(command)
        command.set_defaults(run=_other, part=name)


def _loading_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--images", type=int, default=113_287)
    command.add_argument("--batches", type=int, default=300)
    command.add_argument("--steps", type=int, default=5)
    command.add_argument("--recipe", default="scan-t2i-mean-coco")
    command.add_argument("--device", default="cpu")
    command.add_argument("--held", default="auto", help="auto, never or float16")
    command.add_argument("--dense", action="store_true", help="random features, not a sparse file")
    command.add_argument("--folder", type=Path, help="where to make it; default: a temporary one")


def _search_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--images", type=int, default=1_000_000)
    command.add_argument("--queries", type=int, default=100)
    command.add_argument("--pictures", type=int, default=16_000)
    command.add_argument("--recipe", default="scan-t2i-mean-smoke")
    command.add_argument("--kind", default="float16", help="float32, float16 or int8")
    command.add_argument("--threads", type=int, default=2)
    command.add_argument("--folder", type=Path, default=Path("data/search"))


def _spread_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("recipes", nargs="*", metavar="RECIPE", help="default: one of each kind")
    command.add_argument("--dataset", type=Path, default=Path("data/scenes-small"))
    command.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    command.add_argument("--variants", nargs="+", metavar="VARIANT", help="default: all")
    command.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="changes")
    command.add_argument("--root", type=Path, default=Path("data/runs-spread"), help="of the runs")
    command.add_argument("--record", action="store_true", help="write to data/results/")


OTHERS = {
    "loading": ("time and memory of loading a large training split", _loading_options),
    "search": ("search in two stages, up to a million images", _search_options),
}


def _add_shared(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="cpu", help="cpu or cuda")
    command.add_argument("--threads", type=int, default=os.cpu_count(), help="of a CPU")
    command.add_argument("--record", action="store_true", help="write to data/results/")


def _scoring(given: argparse.Namespace) -> int:
    import torch

    from itm_book.bench import record
    from itm_book.bench.scoring import METHODS, Asked, race_all

    _check_record(given)
    torch.set_num_threads(given.threads)
    names = ("images", "captions", "width", "similarity", "twin_captions")
    asked = Asked(
        methods=tuple(given.methods or METHODS),
        device=given.device,
        precision=given.precision,
        compile=given.compile,
        repeats=given.repeats,
        **{name: getattr(given, name) for name in names},
    )
    before = record.read("scoring") if given.check else None
    worse = []
    for one in race_all(asked):
        print(one.line(), flush=True)
        rows = record.scoring_rows([one], asked)
        if before is not None:
            worse += record.regressions(rows, before)
        _keep(given, "scoring", rows)
    print("\n".join(worse))
    return 1 if worse else 0


def _check_record(given: argparse.Namespace) -> None:
    """Refuse before anything is measured what could not be recorded."""
    from itm_book.records.commits import require_committed
    from itm_core.environment import current_commit

    if given.record:
        require_committed(current_commit())


def _keep(given: argparse.Namespace, kind: str, rows: pd.DataFrame) -> None:
    """Record rows if that was asked for, as they come: whoever stops early keeps them."""
    from itm_book.bench import record

    if given.record:
        record.save(kind, rows)


def _growth(given: argparse.Namespace) -> int:
    import torch

    from itm_book.bench import growth, record

    _check_record(given)
    torch.set_num_threads(given.threads)
    images, grown = given.images or growth.IMAGES, []
    for one in growth.grow(given.methods, images, given.captions, given.device):
        print(one.line(), flush=True)
        grown.append(one)
        _keep(given, "growth", record.growth_rows([one], given.device))
    for name in given.methods:
        own = [one for one in grown if one.method == name]
        power = growth.exponent([o.images for o in own], [o.seconds for o in own])
        print(f"{name}: grows as images to the power of {power:.2f}")
    return 0


def _training(given: argparse.Namespace) -> int:
    import torch

    from itm_book.bench import record, training

    _check_record(given)
    torch.set_num_threads(given.threads)
    names = ("batch", "device", "precision", "repeats", "tile")
    asked = [
        training.Asked(
            recipe=recipe,
            negatives=negatives,
            **{name: getattr(given, name) for name in names},
        )
        for recipe in given.recipes or training.RECIPES
        for negatives in training.NEGATIVES
    ]
    for one in training.step_all(asked):
        print(one.line(), flush=True)
        _keep(given, "training", record.training_rows([one], given.device))
    return 0


def _spread(given: argparse.Namespace) -> int:
    from itm_book.bench import spread
    from itm_book.records import rounding
    from itm_core.data.dataset import load_dataset

    load_dataset(given.dataset)  # what is wrong with it is said before anything is trained
    wanted = spread.asked_for(
        given.recipes or spread.RECIPES,
        given.seeds,
        given.variants or list(spread.VARIANTS),
        dataset=str(given.dataset),
        changes=tuple(given.changes),
        root=str(given.root),
    )
    for row in spread.train_all(wanted, record=given.record):
        print(rounding.line(row), flush=True)
    return 0


def _other(given: argparse.Namespace) -> int:
    import_module(f"itm_core.bench.{given.part}").measure(given)
    return 0
