"""Attention of the runs of a grid, measured against people's boxes.

Every matcher passes once over the captions of the test split, with trained and with untrained
weights; all lines of the record (`attention`) come from these passes.

Page: "What attention metrics can and cannot say"; "Real photographs".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itm_book.records import attention, grids, results
from itm_book.records.attention import (
    ALL,
    IOUS,
    MAIN_IOU,
    MEASURES,
    POINTING,
    TRAINED,
    UNIFORM,
    UNTRAINED,
)
from itm_book.records.commits import require_committed_runs
from itm_book.records.grids import Cell, Grid
from itm_core.data.dataset import Dataset, Split, load_dataset
from itm_core.errors import InputError
from itm_core.evaluation.attention_measures import CURVES
from itm_core.evaluation.attention_quality import Annotation, annotation
from itm_core.evaluation.attention_queries import LAST, MeasuredQueries, Queries, attended_queries
from itm_core.experiments.prepare import PreparedSplit, prepare
from itm_core.experiments.run import Run
from itm_core.experiments.run_folder import RunState
from itm_core.models import Matcher

Line = dict[str, Any]


def measure(
    grid: Grid,
    size: str,
    *,
    data: Path | str = "data",
    root: Path | str = "data/runs",
    record: Path = attention.RECORD,
) -> Iterator[str]:
    """Measure the finished runs of a grid that are not in the record; yield a line of text each.

    The lines of a run are recorded as soon as it is measured, so an interrupted command resumes.
    Deterministic. Raises `InputError` when the dataset or its annotation is missing, no run is
    finished, a run was made by code in no commit, or the annotation is not that of recorded runs
    of this dataset that stay; and, after all others were measured, for damaged runs.

    Args:
        data: the folder that holds the datasets' folders.
        root: the run store.
        record: the file.
    """
    damaged: list[str] = []
    runs = _finished(grid, size, Path(data), Path(root), damaged)
    dataset = load_dataset(Path(data) / grid.size(size).dataset)
    boxes = PeopleBoxes.of(dataset.test)
    done = attention.measured_runs(record)
    columns = [_columns(dataset.name, cell, run) for cell, run in runs]
    again = [(of_run["recipe"], of_run["changes"], of_run["seed"]) for of_run in columns]
    attention.require_same_annotation(dataset.name, boxes.truth, again, record)
    for (cell, run), of_run in zip(runs, columns, strict=True):
        label = f"{cell.row}, seed {cell.spec.seed}"
        if (run.place, of_run["commit"], boxes.truth) in done:
            yield f"{label}: in the record"
            continue
        try:
            lines = list(boxes.lines(run, dataset, of_run))
        except InputError as error:
            if run.folder not in Path(error.file or "").parents:
                raise  # not about the run's own files
            damaged.append(str(error))
            yield f"{label}: damaged, {error}"
            continue
        if not lines:
            yield f"{label}: does not attend"
            continue
        attention.export(lines, record, again=again)
        yield f"{label}: {_summary(lines)}"
    if damaged:  # their older lines stay
        attention.require_same_annotation(dataset.name, boxes.truth, (), record)
        raise results.left_out(damaged)


def _columns(dataset: str, cell: Cell, run: Run) -> Line:
    """Return the columns of a line that name the run of a cell."""
    return {
        "dataset": dataset,
        "recipe": run.config["recipe"]["name"],
        "changes": " ".join(cell.spec.overrides),
        "seed": cell.spec.seed,
        "run": run.place,
        "commit": run.environment.get("commit") or "",
    }


def _finished(
    grid: Grid, size: str, data: Path, root: Path, damaged: list[str]
) -> list[tuple[Cell, Run]]:
    """Return the finished runs of a grid; raises `InputError` where there is none to record.

    The reasons of damaged ones, which are left out, are added to ``damaged``.
    """
    cells = grid.cells(size)
    finished = []
    for cell, folder in zip(cells, grids.folders(cells, data, root), strict=True):
        run = Run(folder)
        if run.state == RunState.FINISHED:
            try:
                run.require_whole()
                str(run.environment)  # read here: a damaged one is left out
                finished.append((cell, run))
            except InputError as error:
                damaged.append(str(error))
    if damaged and not finished:
        raise results.left_out(damaged)
    if not finished:
        remedy = f"itm grid {grid.name} --size {size}"
        raise InputError("no run of this grid is finished", file=root, remedy=remedy)
    require_committed_runs((run.place, run.environment.get("commit")) for _, run in finished)
    return finished


def _summary(lines: list[Line]) -> str:
    """Return pointing of the trained weights and its chance level, for each direction."""
    main = [
        line
        for line in lines
        if (line["weights"], line["pass"], line["iou"], line["kind"])
        == (TRAINED, LAST, MAIN_IOU, ALL)
    ]
    return "; ".join(
        f"{line['direction']} pointing {line[POINTING]:.3f}, chance {line['chance']:.3f}, "
        f"{line['queries']} queries"
        for line in main
    )


@dataclass(frozen=True, eq=False)
class PeopleBoxes:
    """The annotation of a split, against which runs are measured.

    Attributes:
        annotated: which regions show what each word names.
        truth: the hash of the annotation, see `attention.truth_of`.
    """

    split: Split
    annotated: Annotation
    truth: str

    @classmethod
    def of(cls, split: Split) -> PeopleBoxes:
        """Return the annotation of a split; raises `InputError` where it has none."""
        annotated = annotation(split)
        if annotated is None:
            missing = "boxes of the regions" if split.boxes is None else "words with boxes"
            raise InputError(
                f"the {split.name} split has no {missing}",
                file=split.folder,
                expected=", ".join(
                    f"{split.name}_{name}" for name in ("boxes.npy", "words.json", "objects.json")
                ),
                remedy="annotate it: itm data entities --help",
            )
        return cls(split, annotated, attention.truth_of(split))

    def lines(self, run: Run, dataset: Dataset, of_run: Mapping[str, Any]) -> Iterator[Line]:
        """Yield the lines of a run, and those of uniform weights on its queries.

        ``of_run`` are the columns that name the run.
        """
        prepared = prepare(dataset, run.recipe).test
        of_none = dict(of_run) | {"recipe": "", "changes": "", "seed": 0, "run": "", "commit": ""}
        for weights in (TRAINED, UNTRAINED):
            matcher = run.matcher() if weights == TRAINED else run.initial_matcher()
            for (direction, name), queries in self._queries(matcher, prepared).items():
                place = {"truth": self.truth, "direction": direction, "pass": name}
                yield from self._of_weights(queries, {**of_run, **place, "weights": weights})
                if weights == TRAINED and name == LAST:
                    uniform = {**of_none, **place, "weights": UNIFORM}
                    yield from self._of_weights(queries.uniform(), uniform)

    def _queries(self, matcher: Matcher, prepared: PreparedSplit) -> dict[tuple[str, str], Queries]:
        return attended_queries(
            matcher,
            self.split,
            prepared.tokens,
            self.annotated,
            prepared.features,
            word_rows=prepared.word_rows,
        )

    def _of_weights(self, queries: Queries, key: Mapping[str, Any]) -> Iterator[Line]:
        for iou in IOUS:
            measured = queries.measured(iou)
            kinds = (ALL, *self.annotated.type_names)
            for number, kind in enumerate(kinds):
                everything = np.ones(len(measured.image), bool)
                rows = measured.types[:, number - 1] if number else everything
                dropped = measured.dropped[number]
                if rows.any():
                    place = {"iou": iou, "kind": kind, "dropped": dropped}
                    yield {**key, **place, **self._numbers(measured, rows, iou, key, kind)}

    def _numbers(
        self,
        measured: MeasuredQueries,
        rows: np.ndarray,
        iou: float,
        key: Mapping[str, Any],
        kind: str,
    ) -> Line:
        """Return the means of some queries, and those of every image as text."""
        measures, image = measured.measures, measured.image[rows]
        values = {
            name: getattr(measures, name).numpy()[rows] for name in (*MEASURES, *attention.CHANCE)
        }
        numbers: Line = {name: float(of_queries.mean()) for name, of_queries in values.items()}
        counts = np.bincount(image, minlength=len(self.split.regions))
        with_images = iou == MAIN_IOU or kind == ALL
        of_images = MEASURES if iou == MAIN_IOU and kind == ALL else (POINTING,)
        for name in of_images if with_images else ():
            sums = np.bincount(image, values[name], minlength=len(counts))
            means = sums / np.maximum(counts, 1)
            numbers[f"{name}_images"] = attention.encoded_means(means, counts)
        if key["weights"] == UNIFORM and with_images:
            numbers["image_queries"] = attention.encoded_counts(counts)
        if kind == ALL:
            for name, curve in zip(CURVES, measures.curve.T, strict=True):
                numbers[f"{name}_curve"] = " ".join(f"{value:.4f}" for value in curve)
        return {"queries": len(image), **numbers}
