"""What scoring and training should cost, and whether the record has it.

The targets are this project's own: on two cores of a CPU as ratios to what runs beside it, on one
large GPU as seconds for MSCOCO 5K (5,000 images with 25,000 captions, D = 1024, K = 256) and for
a training step of 128 pairs at Flickr30K's shapes.

Page: "What it costs".
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from itm_book.tables.run_links import marked

FAST = ("SCAN t2i", "SCAN i2t", "BFAN", "CHAN")
TIMES_REFERENCE = dict.fromkeys(FAST, 7.0) | dict.fromkeys(("SAF", "SGR", "RCAR-2 t2i"), 3.0)
TIMES_BARE = dict.fromkeys(FAST, 1.6)
MEMORY = {"cpu": 2, "cuda": 8}  # GiB while scoring
SECONDS = {"SCAN t2i": 0.6, "SCAN i2t": 0.6, "CHAN": 0.6, "BFAN": 1.2}
SECONDS |= {"SAF": 5.0, "SGR": 12.0, "RCAR-2 t2i": 30.0}
COCO_5K = {"images": 5000, "captions": 25000, "width": 1024, "similarity": 256}

PAIRS = 128  # of a training step
STEPS = {  # method: its recipe, milliseconds of a step with the hardest negatives
    "SCAN t2i": ("scan-t2i-mean-f30k", 15.0),
    "RCAR-2 t2i": ("rcar-t2i-f30k", 40.0),
    "SGR": ("sgr-f30k", 40.0),
}
GIB = 24.0  # of memory at most, for each of them


def on_cpu(recorded: pd.DataFrame) -> pd.DataFrame:
    """Return for each method whether the targets on a CPU are met, and what is in the way if not.

    ``recorded`` are rows of `record.scoring_rows` of one machine, size and precision. Columns:
    ``method``, ``target``, ``measured``, ``met``, ``floor`` (the ratio that the floor would give),
    ``what stands between``.
    """
    found: list[dict[str, str]] = []
    commits: list[str | None] = []
    for row in recorded[recorded["device"] == "cpu"].to_dict("records"):
        name = str(row["method"])
        if name in TIMES_REFERENCE:
            found.append(_twin(row, TIMES_REFERENCE[name]))
        if name in TIMES_BARE:
            found.append(_bare(row, TIMES_BARE[name]))
        commits += [row.get("commit")] * (len(found) - len(commits))
    return marked(pd.DataFrame(found), "measured", commits)


def _twin(row: Mapping, asked: float) -> dict[str, str]:
    reached, limit = row["times_reference"], row["reference"] / row["floor"]
    return {
        "method": row["method"],
        "target": f"at least {asked:.0f} x the twin's speed",
        "measured": f"{reached:.1f} x",
        "met": _yes(reached >= asked),
        "floor": f"{limit:.1f} x",
        "what stands between": "" if reached >= asked else _between(row, limit < asked),
    }


def _bare(row: Mapping, asked: float) -> dict[str, str]:
    reached, limit = row["times_bare"], row["floor"] / row["bare"]
    return {
        "method": row["method"],
        "target": f"at most {asked} x the bare product's time",
        "measured": f"{reached:.2f} x",
        "met": _yes(reached <= asked),
        "floor": f"{limit:.2f} x",
        "what stands between": "" if reached <= asked else _between(row, limit > asked),
    }


def _between(row: Mapping, beyond: bool) -> str:
    if beyond:
        return "the target lies beyond what the products alone allow here"
    rest = 1 - row["products"]
    return (
        f"ours takes {row['times_floor']:.1f} x its floor: {rest:.0%} of the time is outside "
        "products, in softmax, norms and moves of memory"
    )


def on_gpu(recorded: pd.DataFrame) -> pd.DataFrame:
    """Return for each method whether MSCOCO 5K takes what it may on a GPU; *not run* without one.

    Columns: ``method``, ``target`` and ``measured`` (seconds, TF32), ``met``, ``machine``.
    """
    there = recorded[(recorded["device"] == "cuda") & (recorded["precision"] == "tf32")]
    for name, value in COCO_5K.items():
        there = there[there[name] == value]
    rows: list[dict[str, str]] = []
    commits: list[str | None] = []
    for name, asked in SECONDS.items():
        own = there[there["method"] == name]
        row = {"method": name, "target": f"at most {asked} s"}
        if own.empty:
            rows.append(row | {"measured": "not run", "met": "", "machine": ""})
            commits.append(None)
            continue
        best = own.sort_values("ours").iloc[0]
        commits.append(best.get("commit"))
        met = _yes(best["ours"] <= asked)
        rows.append(
            row | {"measured": f"{best['ours']:.2f} s", "met": met, "machine": best["machine"]}
        )
    return marked(pd.DataFrame(rows), "measured", commits)


def training(recorded: pd.DataFrame) -> pd.DataFrame:
    """Return for each method whether a training step takes what it may on a GPU, two lines each.

    ``recorded`` are rows of `record.training_rows`; of several of a method the fastest counts, for
    time and memory alike. Columns: ``method``, ``target`` and ``measured`` (time, then memory;
    *not run* without a GPU), ``met``, ``machine``.
    """
    there = recorded[(recorded["device"] == "cuda") & (recorded["batch"] == PAIRS)]
    there = there[there["negatives"] == "hardest"].sort_values("seconds", kind="stable")
    rows: list[dict[str, str]] = []
    commits: list[str | None] = []
    for name, (recipe, asked) in STEPS.items():
        own = there[there["recipe"] == recipe]
        best = None if own.empty else own.iloc[0]
        took, held = (None, None) if best is None else (1e3 * best["seconds"], best["peak"])
        machine = "" if best is None else f"{best['machine']} ({best['precision']})"
        commits += [None if best is None else best.get("commit")] * 2
        for limit, unit, found in ((asked, "ms a step", took), (GIB, "GiB", held)):
            rows.append(
                {
                    "method": name,
                    "target": f"at most {limit:.0f} {unit}",
                    "measured": "not run" if found is None else f"{found:.1f} {unit}",
                    "met": "" if found is None else _yes(found <= limit),
                    "machine": machine,
                }
            )
    return marked(pd.DataFrame(rows), "measured", commits)


def memory(grown: pd.DataFrame) -> pd.DataFrame:
    """Return whether scoring stays within its memory at the largest gallery that was recorded.

    ``grown`` are rows of `record.growth_rows`. Columns: ``device``, ``target``, ``measured`` (GiB,
    of the whole process on a CPU, of what torch allocated on a GPU), ``met``, ``images``.
    """
    rows: list[dict[str, str]] = []
    commits: list[str | None] = []
    for device, asked in MEMORY.items():
        row = {"device": device, "target": f"at most {asked} GiB at any size of the gallery"}
        own = grown[grown["device"] == device]
        if own.empty:
            rows.append(row | {"measured": "not run", "met": "", "images": ""})
            commits.append(None)
            continue
        largest = own.sort_values("peak").iloc[-1]
        commits.append(largest.get("commit"))
        most = largest["peak"] / 1024
        found = {"measured": f"{most:.2f} GiB", "met": _yes(most <= asked)}
        rows.append(row | found | {"images": f"up to {own['images'].max():,}"})
    return marked(pd.DataFrame(rows), "measured", commits)


def _yes(met: bool) -> str:
    return "yes" if met else "no"
