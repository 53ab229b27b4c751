"""The chapters of the book that are notebooks: the table of contents and each one's parameters.

``book/_toc.yml`` is the only list of chapters. What a notebook is run with when the book is built
is in its own metadata, under ``book``:

.. code-block:: json

    {"book": {"parameters": {"dataset": "{dataset}", "recipe": "scan-t2i-mean{profile}"}}}

A text in braces stands for a value of the preset (`Preset`). ``"alone": true`` is for notebooks
that measure time: they run after the others, one at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from itm_book.batch.notebook_runner import check_parameters, read_notebook
from itm_book.pages.clone import sources_of
from itm_core.errors import InputError, did_you_mean
from itm_core.files import reading

METADATA = "book"
KEYS = ("parameters", "alone")
TOC = Path("book", "_toc.yml")
EXAMPLE = '{"book": {"parameters": {"device": "{device}"}}}'
RECORDED = "smoke"  # the size whose recorded results every build shows
SEEDS = [0]  # of the rows that a build trains itself; the record has more


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What a build of the book uses: a preset of the Scenes dataset and what goes with it.

    Attributes:
        name: the preset of the Scenes dataset.
        size: the size of the grids.
        profile: the ending of the recipes' names.
        folder: the name of the dataset's folder in ``data/``.
        takes: how long a build takes from nothing, for display.
    """

    name: str
    size: str
    profile: str
    folder: str
    takes: str

    def values(self, device: str) -> dict[str, Any]:
        """Return what stands for each name in braces; paths are relative to ``notebooks/``."""
        return {
            "dataset": f"../data/{self.folder}",
            "size": self.size,
            "profile": f"-{self.profile}",
            "record": RECORDED,
            "seeds": SEEDS,
            "device": device,
        }


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(name="full", size="full", profile="scenes", folder="scenes", takes="hours"),
        Preset(
            name="small",
            size="smoke",
            profile="smoke",
            folder="scenes-small",
            takes="7 minutes on two recent cores, 22 on slow ones",
        ),
        Preset(
            name="tiny",
            size="tiny",
            profile="smoke",
            folder="scenes-tiny",
            takes="a few minutes on two cores without other work",
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One notebook of the book, and what it is run with.

    Attributes:
        notebook: the name of its file without ending.
        parameters: values for its cell tagged ``parameters``.
        alone: it runs after the others, with the machine to itself.
    """

    notebook: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False


def find_preset(name: str) -> Preset:
    """Return a preset by its name; raises `InputError` when there is none."""
    if name not in PRESETS:
        raise InputError(
            "unknown preset",
            expected=f"one of {', '.join(PRESETS)}",
            found=name,
            remedy=did_you_mean(name, PRESETS),
        )
    return PRESETS[name]


def chapters_of(root: Path, preset: str = "small", *, device: str = "auto") -> tuple[Chapter, ...]:
    """Return the notebooks of the book in the order of the table of contents.

    Raises `InputError` for an unknown preset, for a notebook that is listed and missing or there
    and not listed, and for one without parameters for the book or with a parameter that it lacks.
    """
    values = find_preset(preset).values(device)
    return tuple(
        _chapter(sources_of(root) / f"{name}.ipynb", values) for name in notebooks_of(root)
    )


def notebooks_of(root: Path) -> list[str]:
    """Return the names of the notebooks that the table of contents lists, in its order.

    Raises `InputError` unless they are the notebooks in ``notebooks/``, each listed once.
    """
    toc, folder = root / TOC, sources_of(root)
    pages = [Path(page) for page in pages_of(root)]
    names = [page.stem for page in pages if page.parent == Path(folder.name)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                "a notebook is listed twice",
                file=toc,
                found=f"notebooks/{name}",
                remedy="list every notebook once",
            )
        if not (folder / f"{name}.ipynb").exists():
            raise InputError(
                "a notebook that is listed does not exist",
                file=toc,
                expected=folder / f"{name}.ipynb",
                remedy=f"add the notebook, or remove notebooks/{name} from the table of contents",
            )
    for path in sorted(folder.glob("*.ipynb")):
        if path.stem not in names:
            raise InputError(
                "the table of contents does not list this notebook",
                file=path,
                remedy=f"add `- file: notebooks/{path.stem}` to {toc}, or move the notebook "
                "out of notebooks/",
            )
    return names


def pages_of(root: Path) -> list[str]:
    """Return the pages that the table of contents lists, in its order, without their endings.

    Raises `InputError` when it cannot be read.
    """
    toc = root / TOC
    try:
        with reading(toc):
            content = yaml.safe_load(toc.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError("not readable as YAML", file=toc, found=str(error)) from None
    return list(_pages(content))


def _pages(content: Any) -> Iterator[str]:
    """Yield what every ``root`` and ``file`` of a table of contents names, in its order."""
    if isinstance(content, list):
        for entry in content:
            yield from _pages(entry)
    elif isinstance(content, dict):
        for key, value in content.items():
            if key in ("root", "file"):
                yield str(value)
            else:
                yield from _pages(value)


def _chapter(source: Path, values: Mapping[str, Any]) -> Chapter:
    settings = read_notebook(source).metadata.get(METADATA)
    if not isinstance(settings, dict) or not isinstance(settings.get("parameters"), dict):
        raise InputError(
            "the notebook does not say what the book runs it with",
            file=source,
            expected=f"metadata such as {EXAMPLE}",
            remedy="add it to the metadata of the notebook (JupyterLab: Property Inspector)",
        )
    unknown = [key for key in settings if key not in KEYS]
    if unknown or not isinstance(settings.get("alone", False), bool):
        raise InputError(
            f"wrong metadata under {METADATA!r}",
            file=source,
            expected="parameters, and alone (true or false) where it is needed",
            found=", ".join(unknown) or f"alone {settings['alone']!r}",
            remedy="correct the metadata of the notebook",
        )
    parameters = {
        name: _filled(value, values, source) for name, value in settings["parameters"].items()
    }
    check_parameters(source, parameters)
    return Chapter(notebook=source.stem, parameters=parameters, alone=settings.get("alone", False))


def _filled(value: Any, values: Mapping[str, Any], source: Path) -> Any:
    """Return a parameter with the preset's values in the place of names in braces."""
    if isinstance(value, dict):
        return {key: _filled(entry, values, source) for key, entry in value.items()}
    if isinstance(value, list):
        return [_filled(entry, values, source) for entry in value]
    if not isinstance(value, str):
        return value
    unknown = [name for name in re.findall(r"\{(\w*)\}", value) if name not in values]
    if unknown:
        raise InputError(
            "unknown name in braces among the parameters for the book",
            file=source,
            expected=f"one of {', '.join(values)}",
            found=value,
            remedy="correct the metadata of the notebook",
        )
    only = re.fullmatch(r"\{(\w+)\}", value)  # the value itself, which need not be a text
    if only:
        return values[only[1]]
    return re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), value)
