"""The page of all runs, of the run store and of the record: one row and one folded part for each.

It is written as raw HTML into the staged book, because other pages link to its rows. A damaged
folder is shown as damaged and never stops a build.

Page: "All runs".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from itm_book.pages.run_entries import (
    SHOWN_STATES,
    Compared,
    RunEntry,
    number,
    recorded_entries,
    run_entries,
    written,
)
from itm_book.records.commits import is_committed
from itm_book.records.results import RECORDED, every_recorded
from itm_book.tables.comparison import ATTENTION, SHOWN
from itm_book.tables.report import FOOTNOTE, SUPERSCRIPT
from itm_book.tables.run_links import run_anchor

LONGEST = 100  # characters of a cell
LONG = 4000  # characters of any other text
FEW = 3  # changed settings that a cell names
BEHIND = (*ATTENTION.values(), "minutes", "device", "torch", "commit", "started")  # the switch


def write_runs_page(path: Path, root: Path) -> None:
    """Write the part that ``book/runs.md`` includes: all runs of ``root`` and of the record."""
    stored = run_entries(root)
    places = {entry.place for entry in stored}
    recorded = [run for run in recorded_entries(every_recorded()) if run.place not in places]
    path.parent.mkdir(parents=True, exist_ok=True)
    # Names and files may hold lone surrogates, which UTF-8 cannot encode.
    path.write_bytes(runs_page([*stored, *recorded]).encode("utf-8", "replace"))


def runs_page(runs: Sequence[RunEntry]) -> str:
    """Return Markdown with the table of all runs, and below it the details of each."""
    if not runs:
        return "No run has been made for this copy of the book.\n"
    counts = Counter(run.state for run in runs)
    summary = ", ".join(f"{counts[state]} {state}" for state in SHOWN_STATES if counts[state])
    rows = [_row(run) for run in runs]
    head = "".join(f'<th scope="col"{_kind(name)}>{escape(name)}</th>' for name in rows[0])
    body = "\n".join(_line(run, row) for run, row in zip(runs, rows, strict=True))
    return (
        f'<figure class="all-runs"><figcaption>{len(runs)} runs: {summary}</figcaption>'
        '<div class="table-scroll">'
        f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>\n{body}\n'
        f"</tbody></table></div>{FOOTNOTE if any(map(_uncommitted, runs)) else ''}</figure>"
        "\n\n## Settings and environment of each run\n\n" + "\n".join(map(_details, runs)) + "\n"
    )


def _row(run: RunEntry) -> dict[str, str]:
    """Return the cells of a run's row by the names of their columns."""
    where, metrics = run.environment, run.metrics
    packages = where.get("packages")
    seconds = number(where.get("seconds_training"))
    return {
        "dataset": run.place[0],
        "recipe": run.recipe,
        "changed": _few(run.settings),
        "seed": run.seed,
        **{title: _tenths(metrics.get(name)) for name, title in SHOWN.items()},
        **{title: _tenths(metrics.get(name), 100) for name, title in ATTENTION.items()},
        "minutes": _tenths(seconds, 1 / 60),
        "device": _text(where.get("device")),
        "torch": _text(packages.get("torch") if isinstance(packages, Mapping) else None),
        "commit": _text(where.get("commit")),
        "started": _text(where.get("started"))[:10],
        "state": ": ".join(filter(None, (run.state, run.reason()))),
    }


def _few(settings: Compared) -> str:
    if settings.unread:
        return "cannot be compared"
    changes = written(settings.changed)
    more = [f"and {len(changes) - FEW} more"] if len(changes) > FEW else []
    return ", ".join([*changes[:FEW], *more])


def _tenths(value: object, factor: float = 1) -> str:
    finite = number(value)
    return "" if finite is None else f"{factor * finite:.1f}"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _safe(text: str, longest: int = LONG) -> str:
    """Return text for HTML on one line: an empty one would end the block in Markdown."""
    line = " ".join(text.split())
    return escape(line if len(line) <= longest else f"{line[:longest]}…")


def _line(run: RunEntry, row: Mapping[str, str]) -> str:
    anchor, cells = run_anchor("/".join(run.place)), []
    for name, text in row.items():
        shown = _safe(text, LONGEST)
        if name == "recipe":
            shown = f'<a href="#{anchor}-made">{shown}</a>'
        if name == SHOWN["rsum"] and _uncommitted(run):
            shown += SUPERSCRIPT
        words = name == "changed" or (name == "state" and bool(run.reason()))
        cells.append(f"<td{_kind(name, words=words)}>{shown}</td>")
    return f'<tr id="{anchor}">{"".join(cells)}</tr>'


def _kind(name: str, *, words: bool = False) -> str:
    """Return the class attribute of a cell of a column: wrapped, or behind the table's switch."""
    kinds = ["words"] * words + ["more"] * (name in BEHIND)
    return f' class="{" ".join(kinds)}"' if kinds else ""


def _uncommitted(run: RunEntry) -> bool:
    """Return whether a run has numbers that were made by code in no commit."""
    return bool(run.metrics) and not is_committed(_text(run.environment.get("commit")))


def _details(run: RunEntry) -> str:
    """Return the folded part of a run: command, settings, data and machine."""
    settings, anchor = run.settings, run_anchor("/".join(run.place))
    named = f"{run.recipe}, seed {run.seed}, {run.place[0]}, {run.state}"
    summary = "; ".join(filter(None, (named, _few(settings))))
    parts = [f"<p>{_safe(run.reason())}</p>"] if run.reason() else []
    if command := run.command():
        parts.append(f'<div class="highlight"><pre>{_safe(command)}</pre></div>')
    if settings.chosen:
        why = f" (not compared with a recipe: {_safe(settings.unread)})" if settings.unread else ""
        lines = "\n".join(map(_safe, written(settings.chosen)))
        parts.append(f"<p>Settings that are not the defaults{why}:</p><pre>{lines}</pre>")
    parts.append(f'<p class="facts">{"; ".join(_safe(fact) for fact in _facts(run))}</p>')
    return (
        f'<details class="run"><summary>{_safe(summary, 2 * LONGEST)}</summary>'
        f'<div id="{anchor}-made">\n' + "\n".join(parts) + "\n</div></details>"
    )


def _facts(run: RunEntry) -> list[str]:
    """Return short facts: the run's folder, its data and its machine."""
    where, config = dict(run.environment), run.config
    packages = where.pop("packages", None)
    where |= packages if isinstance(packages, dict) else {}
    data = [name for name in ("region_count", "feature_width", "fingerprint") if name in config]
    store = "recorded in data/results/runs.csv" if run.state == RECORDED else "data/runs"
    facts = [f"{store}: {'/'.join(run.place)}"]
    facts += [f"{name.replace('_', ' ')} {_text(config[name])}" for name in data]
    return facts + [f"{k.replace('_', ' ')} {_text(v)}" for k, v in where.items() if v is not None]
