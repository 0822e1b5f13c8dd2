"""Sphinx: `make docs` builds the site in docs/_build."""

project = "vocseg"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
exclude_patterns = ["_build", "notes"]
myst_heading_anchors = 3
autodoc_typehints = "description"
suppress_warnings = ["myst.xref_missing", "myst.header"]
