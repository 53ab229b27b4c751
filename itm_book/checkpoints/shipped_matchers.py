"""Trained matchers that come with the package, in ``data/models/``; nothing is trained for them.

Each is a folder as an import writes it, so that everything that takes a run takes it too. Its
weights are float16 and are computed with as float32. `shipping` writes the folders.

Page: "First match", "Your pictures".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from itm_book.checkpoints.imported_runs import load_run
from itm_book.shipped import shipped
from itm_core.errors import InputError, did_you_mean
from itm_core.experiments.run import Run
from itm_core.experiments.run_folder import IMPORT

HOME = shipped("models")
ORDER = ("scan-t2i", "rcar-t2i", "chan", "scan-t2i-ccr-ccs")  # of menus; all others come later


def names(home: Path = HOME) -> list[str]:
    """Return the names of the shipped matchers, in the order of `ORDER`, then of the alphabet."""
    present = {path.parent.name for path in home.glob(f"*/{IMPORT}")}
    return [name for name in ORDER if name in present] + sorted(present - {*ORDER})


def load(name: Path | str, home: Path = HOME) -> Run:
    """Return a matcher by its name, or the run in a folder.

    Raises `InputError` when there is neither, and as `imported_runs.load_run` does.
    """
    if str(name) in names(home):
        return load_run(home / name)
    if Path(name).is_dir():
        return load_run(name)
    raise InputError(
        "no such matcher",
        expected=", ".join([*names(home), "or the folder of a run"]),
        found=name,
        remedy=did_you_mean(name, names(home))
        if names(home)
        else "itm results ship RUN NAME writes one",
    )


def load_all(chosen: Sequence[str] = (), home: Path = HOME) -> dict[str, Run]:
    """Return matchers by their titles: those that are named (`load`), or all that are shipped.

    Equal titles are followed by the seed, and by the folder where seeds are equal too.

    Raises `InputError` as `load` does, and when none is shipped.
    """
    if not chosen and not names(home):
        raise InputError(
            "no matcher is shipped",
            file=home,
            remedy="itm results ship RUN NAME writes one from a finished run",
        )
    runs = {run.folder: run for run in (load(name, home) for name in chosen or names(home))}
    titles = [title(run) for run in runs.values()]
    for addition in (lambda run: f"seed {run.seed}", lambda run: str(run.folder)):
        count = Counter(titles)
        titles = [
            f"{text}, {addition(run)}" if count[text] > 1 else text
            for text, run in zip(titles, runs.values(), strict=True)
        ]
    return dict(zip(titles, runs.values(), strict=True))


def title(run: Run) -> str:
    """Return the displayed name of a matcher: its title, or its recipe where it has none."""
    return str(run.config.get("shipped", {}).get("title", run.recipe.name))
