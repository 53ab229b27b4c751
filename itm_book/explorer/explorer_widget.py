"""The explorer with a kernel: image, caption and methods are chosen, and the model is run.

Page: "First match".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets as widgets

from itm_book.explorer.explorer import payload
from itm_book.explorer.live import Methods, problem_shown, widget_class
from itm_book.pairs.pair_records import pair_record
from itm_core.data.dataset import Split
from itm_core.experiments.runs import Run
from itm_core.models import Matcher


def live(
    runs: Mapping[str, Run], split: Split, *, image: int = 0, caption: int = 0
) -> widgets.VBox:
    """Return an explorer with choices of image, caption and up to two of the runs.

    Args:
        runs: by displayed name.
        split: whose pairs are shown.
        image, caption: the first pair; the caption is its number for the image.

    Raises `InputError` without runs, without anywidget, or for a pair that is not in the split.
    """
    methods = Methods(runs)
    split.place(image, caption)
    images = [(f"{k}: {name}", k) for k, name in enumerate(split.ids)]
    pictures = widgets.Dropdown(options=images, value=image, description="image")
    captions = widgets.Dropdown(
        options=_captions(split, image), value=caption, description="caption"
    )
    shown = widget_class("explorer")()
    matchers: dict[str, Matcher] = {}

    def show(_: object = None) -> None:
        if captions.value is None:  # while another image's captions are put in
            return
        place = split.place(pictures.value, captions.value)
        with problem_shown(shown):
            for name in methods.chosen:
                if name not in matchers:
                    matchers[name] = runs[name].matcher()
            image, chosen = pictures.value, methods.chosen
            shown.records = payload(
                [
                    pair_record(runs[name], split, image, place, name=name, matcher=matchers[name])
                    for name in chosen
                ]
            )

    def turn(change: Mapping[str, Any]) -> None:
        captions.options = _captions(split, change["new"])
        show()

    pictures.observe(turn, "value")
    captions.observe(show, "value")
    methods.observe(show)
    show()
    return widgets.VBox([widgets.HBox([pictures, captions]), methods.row, shown])


def _captions(split: Split, image: int) -> list[tuple[str, int]]:
    """Return the captions of an image as a choice."""
    return [(text, number) for number, text in enumerate(split.captions_of(image))]
