"""How the site is built: ``sphinx-build -W --keep-going docs docs/_build/html``."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import catalogue  # noqa: E402
import messages  # noqa: E402
import schema  # noqa: E402

project = "regimelag"
author = "The regimelag developers"
project_copyright = author
release = version = importlib.metadata.version("regimelag")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinxcontrib.bibtex",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "autolink"
smartquotes = False  # quotes in code stay as they are typed

# ---- pages: Markdown whose code cells are run; one that raises fails the build

FIRST = "start"  # the page that fits; the others load the file that it writes
# Code cells run in a folder of their own, so that they name files as a reader's script does.
PAGES = HERE / "_build" / "pages"
shutil.copytree(HERE / "measured", PAGES / "measured", dirs_exist_ok=True)
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
# A profile of our own, so that pages do not depend on whose machine they are built on.
# Figures have twice the pixels, so that they are sharp on any screen.
profile = HERE / "_build" / "ipython" / "profile_default"
profile.mkdir(parents=True, exist_ok=True)
(profile / "ipython_kernel_config.py").write_text(
    "c = get_config()\nc.InlineBackend.figure_formats = {'retina'}\nc.IPKernelApp.log_level = 40\n"
    f"c.InteractiveShellApp.exec_lines = {['import os', f'os.chdir({str(PAGES)!r})']!r}\n",
    encoding="utf-8",
)
os.environ["IPYTHONDIR"] = str(profile.parent)

# ---- reference: from the docstrings

highlight_language = "none"  # what has no language is a command
autosummary_generate = True
autodoc_typehints = "none"
autodoc_class_signature = "mixed"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
numpydoc_use_plots = False
nitpicky = True
# Other projects' indices are not fetched, so that the build needs no network: their names are not links.
nitpick_ignore_regex = [("py:.*", r"(arch|arviz|nutpie|pymc)(\..*)?")]

# ---- citations

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

# ---- appearance

html_theme = "furo"
urls = dict(line.split(", ", 1) for line in importlib.metadata.metadata("regimelag").get_all("Project-URL") or ())
if "Repository" in urls:
    html_theme_options = {
        "source_repository": urls["Repository"],
        "source_branch": "main",
        "source_directory": "docs/",
    }
html_title = f"regimelag {release}"
html_static_path = ["_static", "../models/spec.schema.json"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
# MathJax is copied into the site: pages need nothing from elsewhere.
mathjax_path = "mathjax/tex-svg.js"
mathjax3_config = {"svg": {"fontCache": "local"}}


def copy_mathjax(app, exception) -> None:
    """Put MathJax, as its package on the index has it, beside the other static files."""
    if exception is None and app.builder.format == "html":
        files = importlib.metadata.distribution("django-static-mathjax")
        target = Path(app.outdir) / "_static" / mathjax_path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files.locate_file("mathjax/static/mathjax/es5/tex-svg.js"), target)


def copy_made(app, exception) -> None:
    """Put what the pages made beside them: the report of the example, and the tutorial as an executed notebook."""
    if exception is None and app.builder.format == "html":
        site, executed = Path(app.outdir), Path(app.outdir).parent / "jupyter_execute" / f"{FIRST}.ipynb"
        if (PAGES / "report").is_dir():
            shutil.copytree(PAGES / "report", site / "example_report", dirs_exist_ok=True)
        if executed.is_file():
            shutil.copyfile(executed, site / executed.name)


def fit_first(app, env, docnames: list[str]) -> None:  # noqa: ARG001
    """Read the page that fits before those that load its file."""
    docnames.sort(key=lambda name: (name != FIRST, name))


def link_dois(app, what, name, thing, options, lines: list[str]) -> None:  # noqa: ARG001
    """Make links of the DOIs in docstrings."""
    doi = re.compile(r"doi:(10\.\d{4,}/[^\s,;]*[^\s,;.)])")
    lines[:] = [doi.sub(r"`doi:\1 <https://doi.org/\1>`__", line) for line in lines]


def setup(app) -> None:
    """Write the reference before autosummary looks for it, and connect the handlers above."""
    catalogue.write(HERE / "reference")
    messages.write(HERE / "reference")
    schema.write(HERE / "reference")
    app.connect("env-before-read-docs", fit_first)
    app.connect("autodoc-process-docstring", link_dois)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", copy_made)
