"""Sphinx's configuration. Built by `make docs`; every warning is an error."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

# autodoc imports the operators, and importing Airflow makes its folder: not the reader's own.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="halo-docs-"))
os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from pygments.lexers.templates import SqlJinjaLexer  # noqa: E402 (the path comes first)

from airflow_provider_halo import __version__  # noqa: E402

project = "airflow-provider-halo"
author = "The airflow-provider-halo founders"
release = version = __version__
copyright = f"{author}. Apache License 2.0"  # noqa: A001 (Sphinx's name for it)

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
default_role = "code"  # docstrings write `names` with single backticks

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature has the types; the docstring says what they mean
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = "airflow-provider-halo"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["halo.css"]

REPOSITORY = "https://github.com/airflow-provider-halo/airflow-provider-halo/blob/main/"


def link_to_the_repository(_app: Any, _name: str, source: list[str]) -> None:
    """Files outside of docs/ are no pages of this site: their links lead to the repository."""
    source[0] = re.sub(r"\]\(\.\./", f"]({REPOSITORY}", source[0])


def keep_first_line(_app: Any, what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """A module's docstring may hold drawings that are no reStructuredText."""
    if what == "module":
        del lines[1:]


def setup(app: Any) -> None:
    """Connect the two functions above, and let SQL hold templates."""
    app.add_lexer("sql", SqlJinjaLexer)
    app.connect("source-read", link_to_the_repository)
    app.connect("autodoc-process-docstring", keep_first_line)
