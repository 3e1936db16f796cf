"""Sphinx configuration; `make docs` builds the site in site/, which works offline."""

project = "Sayso"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "Sayso"
exclude_patterns: list[str] = []
myst_heading_anchors = 4
suppress_warnings = ["myst.xref_missing"]  # pages also link to files of the repository, such as ../LOG.md
html_copy_source = False
html_show_sphinx = False
