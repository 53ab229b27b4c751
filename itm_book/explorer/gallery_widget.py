"""The gallery with a kernel: a sentence or an image is the query, and the model is run.

Page: "The gallery: what is found, and why".
"""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as widgets

from itm_book.explorer.gallery import payload
from itm_book.explorer.live import Methods, problem_shown, widget_class
from itm_book.search.searcher import Searcher
from itm_core.data.dataset import Split
from itm_core.experiments.runs import Run


def live(
    runs: Mapping[str, Run], split: Split, *, sentence: str = "", image: int = 0
) -> widgets.VBox:
    """Return a gallery with a text field, and choices of an image and up to two of the runs.

    Args:
        runs: by displayed name.
        split: the gallery that is searched.
        sentence: the first query; by default the first caption of the split, if it has any.
        image: the first image; without captions only images are found.

    Raises `InputError` without runs, without anywidget, or for an image that is not in the split.
    """
    methods = Methods(runs)
    if split.captions:
        split.place(image, 0)
    text, pictures, target = _choices(split, sentence, image)
    shown = widget_class("gallery")()
    searchers: dict[str, Searcher] = {}

    def show(_: object = None) -> None:
        with problem_shown(shown):
            for name in methods.chosen:
                if name not in searchers:
                    searchers[name] = Searcher(runs[name], split, name=name)
            selected = [searchers[name] for name in methods.chosen]
            if target.value == "images":
                shown.records = payload([[search.images_for(text.value) for search in selected]])
            else:
                shown.records = payload(
                    [[search.captions_for(pictures.value) for search in selected]]
                )

    def switch(kind: str) -> None:
        """Show results of a kind for the present query."""
        if target.value == kind:
            show()
        else:
            target.value = kind  # calls `show`

    text.observe(lambda _: switch("images"), "value")
    pictures.observe(lambda _: switch("captions"), "value")
    target.observe(show, "value")
    methods.observe(show)
    show()
    return widgets.VBox([text, widgets.HBox([pictures, target]), methods.row, shown])


def _choices(
    split: Split, sentence: str, image: int
) -> tuple[widgets.Text, widgets.Dropdown, widgets.ToggleButtons]:
    """Return the widgets that choose the sentence, the image, and what is retrieved."""
    text = widgets.Text(
        value=sentence or next(iter(split.captions), ""),
        description="sentence",
        continuous_update=False,
        layout={"width": "100%", "max_width": "46em"},
    )
    pictures = widgets.Dropdown(
        options=[(f"{k}: {name}", k) for k, name in enumerate(split.ids)],
        value=image,
        description="image",
        disabled=not split.captions,
    )
    kinds = ["images", "captions"] if split.captions else ["images"]
    target = widgets.ToggleButtons(options=kinds, description="find")
    return text, pictures, target
