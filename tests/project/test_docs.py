"""The site and the README: every public name is in the reference, and code that is not run fits the signatures."""

import ast
import importlib.util
import inspect
import re
from operator import attrgetter
from pathlib import Path

import pytest
import test_kernels
import xarray as xr
from builders import cut

import regimelag as rl
from regimelag.spec.kernels import KERNELS

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
# Calls that take minutes: they are bound to the signature, and what they return is not used.
LONG = {"fit", "robustness", "evaluation.backtest"}
# Pages whose block of a whole study is run, with the calls that are bound and the statements that need their results.
STUDIES = {
    "README.md": ({"fit"}, []),
    "docs/calls.md": (LONG, ["print(*checks.attrs['summary'], sep='\\n')"]),
}


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def blocks(page, fence):
    """Code of a page's fenced blocks of one kind, options of code cells left out."""
    found = re.findall(
        rf"^```{re.escape(fence)}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    return [re.sub(r"\A(?::.*\n)+", "", block) for block in found]


def public_calls(code):
    """(name, call) for each call of a public name of the package."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and re.fullmatch(r"rl(\.\w+)+", ast.unparse(node.func)):
            yield ast.unparse(node.func).removeprefix("rl."), node


def bind(name, call):
    """Hold a call against the signature, by number and names of its arguments."""
    starred = any(isinstance(each, ast.Starred) for each in call.args) or any(
        word.arg is None for word in call.keywords
    )
    if not starred:
        inspect.signature(attrgetter(name)(rl)).bind(*call.args, **{word.arg: word.value for word in call.keywords})


def test_reference_holds_every_public_name():
    grouped = module(ROOT / "docs" / "catalogue.py").grouped()
    spaces = {name for name in rl.__all__ if inspect.ismodule(getattr(rl, name))}
    wanted = set(rl.__all__) - spaces
    wanted |= {f"{space}.{name}" for space in spaces - {"errors"} for name in getattr(rl, space).__all__}
    wanted |= {f"errors.{cls.__name__}" for cls in rl.RegimelagError.__subclasses__()}
    assert sorted(name for names in grouped.values() for name in names) == sorted(wanted - {"kernels.KERNELS"})


def test_a_name_from_an_unknown_module_is_refused():
    with pytest.raises(ValueError, match="no group"):
        module(ROOT / "docs" / "catalogue.py").place_of("thing", "elsewhere")


def test_every_kernel_has_its_picture():
    page = "\n".join(blocks(ROOT / "docs" / "kernels.md", "{code-cell} ipython3"))
    pictured = {kind for kind, cls in KERNELS.items() if re.search(rf"rl\.kernels\.{cls.__name__}\(\)", page)}
    assert pictured == KERNELS.keys() - {"none"}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_calls_that_a_page_shows_and_does_not_run_fit_the_signatures(page):
    for code in blocks(page, "python"):
        for name, call in public_calls(code):
            bind(name, call)


def test_the_check_of_calls_finds_a_wrong_one():
    ((name, call),) = public_calls("rl.lag_report(idata, witin=(4, 13))")
    with pytest.raises(TypeError, match="witin"):
        bind(name, call)


def test_links_finds_what_leads_nowhere(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="here"></p><a href="b.html"></a><a href="#here"></a><a href="#there"></a><a href="https://doi.org/x"></a>'
        '<script src="https://example.org/x.js"></script>'
        '<div class="cell docutils"><span>plot_lag</span><img src="a.html"></div>'
        '<div class="cell docutils"><span>plot_regimes</span></div>'
    )
    found = module(ROOT / "docs" / "links.py").faults(tmp_path)
    assert [line.split(": ", 1)[1].split()[0] for line in sorted(found)] == [
        "#there",
        "b.html",
        "https://doi.org/x",
        "loads",
        "no",
    ]


def statements(block):
    """Statements of a block, each as source and tree."""
    return [(ast.unparse(node), node) for node in ast.parse(block).body]


@pytest.mark.slow
@pytest.mark.parametrize("page", STUDIES)
def test_the_block_of_a_study_runs(page, idata, example, tmp_path, monkeypatch):
    """Line by line, on the session's fit; what takes minutes is bound to its signature, and its result is not used."""
    monkeypatch.chdir(tmp_path)
    rl.example_panel(as_frame=True).to_csv("prices.csv")
    (block,) = (code for code in blocks(ROOT / page, "python") if "rl.fit(" in code)
    names = {"other": idata, "newer_panel": cut(example, 280)}
    bound, absent, skipped = set(), set(), []
    for source, node in statements(block):
        long = {name: call for name, call in public_calls(source) if name in LONG}
        for name, call in long.items():
            bind(name, call)
            bound.add(name)
        if "fit" in long:
            # The session's fit is of a shorter panel: what follows is about that one.
            names |= {"idata": idata, "panel": rl.panel_of(idata)}
        elif long:
            absent |= {target.id for target in node.targets}
        elif absent & {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}:
            skipped.append(source)
        else:
            exec(compile(ast.Module([node], []), page, "exec"), names)
    assert (bound, skipped) == STUDIES[page]
    if "save_fit" in block:
        xr.testing.assert_equal(rl.load_fit("fit.nc")["posterior"].to_dataset(), idata["posterior"].to_dataset())


INVARIANTS = [
    test
    for name, test in vars(test_kernels).items()
    if name.startswith("test_")
    and inspect.signature(test).parameters.keys() == {"kernel"}
    and not hasattr(test, "pytestmark")
]


@pytest.mark.parametrize("invariant", INVARIANTS, ids=lambda test: test.__name__)
def test_the_kernel_of_the_page_keeps_every_invariant(invariant):
    (code,) = (each for each in blocks(ROOT / "docs" / "new_kernel.md", "{code-cell} ipython3") if "class " in each)
    names = {"__name__": __name__}
    exec(compile(code, "new_kernel.md", "exec"), names)
    invariant(names["Geometric"]())
