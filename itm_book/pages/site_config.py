"""The configuration of Jupyter Book as it is staged: launch buttons where a repository is named."""

from __future__ import annotations

from pathlib import Path

import yaml

from itm_book.records.yaml_files import read_yaml
from itm_core.errors import InputError

BINDER = "https://mybinder.org"


def staged_config(source: Path) -> str:
    """Return the text of ``_config.yml`` for the staging folder.

    With ``repository: url`` set, pages link to the repository and notebooks to Binder. Raises
    `InputError` for an address that is not ``https://``, and for text that is not YAML.
    """
    config = read_yaml(source)
    url = (config.get("repository") or {}).get("url") or ""
    if not url:
        return source.read_text(encoding="utf-8")
    if not str(url).startswith("https://"):
        raise InputError(
            "not the address of a repository",
            file=source,
            expected="repository: url: https://..., or an empty text",
            found=url,
        )
    config.setdefault("launch_buttons", {}).setdefault("binderhub_url", BINDER)
    config.setdefault("html", {})["use_repository_button"] = True
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
