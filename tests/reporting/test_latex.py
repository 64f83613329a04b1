"""LaTeX for papers: it compiles for any name, stays within the text width, and says what the table says."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from builders import KERNEL, hand_panel, prior_fit, small_spec

import regimelag as rl
from regimelag.model.latex import equations
from regimelag.reporting.latex import COLUMN, PAGE, broken, typeset
from regimelag.reporting.tables import parameter_table
from regimelag.runtime.latex_text import escape, in_ascii, mathematics_width, unescape
from regimelag.runtime.result_table import Shown

HOSTILE = 'S&P 500_$x^2 {50%} #1~\\ <b>|"\u00e9\u65e5\u03b1'
CLASSES = {"article": r"\documentclass{article}", "IEEEtran": r"\documentclass[conference]{IEEEtran}"}
ENGINE = shutil.which("pdflatex") or shutil.which("tectonic")


def hostile_fit():
    """Names that legal specs may have, everywhere."""
    spec = small_spec(
        name="a_b & c",
        responses=(rl.Response("spx_ret & co", "price"),),
        signals=(
            rl.Signal(HOSTILE, "metal", kernel=KERNEL),
            rl.Signal("a very long name of a signal with many words in it", "other", kernel=KERNEL),
        ),
        drivers=(rl.Driver("10y_yield #1", "yield"), rl.Driver("$dollar%", "dollar")),
        controls=(rl.Control("x_1 & {y}", "dollar", kernel=KERNEL),),
        regimes=rl.spec.Regimes(count=2, names=("calm_1", "hot & high")),
        episodes=rl.spec.Episodes(starts=(dt.date(2020, 1, 25),), names=("pre_2020", "post & 2020")),
    )
    return prior_fit(spec, hand_panel(spec, 60, missing=[3]), draws=50)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report of the hostile fit, with a table of two models beside it."""
    fit = hostile_fit()
    made = rl.report(fit, tmp_path_factory.mktemp("latex") / "report").parent
    table = rl.latex_table(rl.model_table({"first_&": fit, "second %": fit}), label="tab:models")
    (made / "tables" / "models.tex").write_text(table, encoding="utf-8")
    (made / "tables" / "summary.tex").write_text(rl.latex_table(rl.summary(fit)), encoding="utf-8")
    return made


def documents(folder):
    return [folder / "model.tex", *sorted((folder / "tables").glob("*.tex"))]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", CLASSES)
def test_it_compiles_within_the_text_width(folder, tmp_path, kind):
    if ENGINE is None:
        pytest.skip("no TeX engine is installed")
    source = "\n\n".join(rf"\input{{{file}}}\clearpage" for file in documents(folder))
    packages = r"\usepackage{booktabs,amsmath}"
    text = "\n".join([CLASSES[kind], packages, r"\begin{document}", source, r"\end{document}"])
    (tmp_path / "paper.tex").write_text(text, encoding="utf-8")
    options = ["-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in ENGINE else ["--keep-logs"]
    done = subprocess.run([ENGINE, *options, "paper.tex"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    log = (tmp_path / "paper.log").read_text(encoding="utf-8", errors="replace")
    wide = [float(width) for width in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)]
    assert max(wide, default=0.0) < 1.0, log


COMMAND = re.compile(r"\\(?:[A-Za-z]+|[^A-Za-z])")


def lint(latex: str) -> None:
    """A strict reader of the subset that the package writes: ASCII, all nested, nothing of mathematics in text."""
    assert latex.isascii()
    depth, dollars, environments = 0, False, []
    for line in latex.splitlines():
        for way, name in re.findall(r"\\(begin|end)\{([a-z]+)\*?\}", line):
            if way == "begin":
                environments.append(name)
            else:
                assert environments.pop() == name
        rest = COMMAND.sub("", line)
        assert not re.search("[#%]", rest), line
        for mark in rest:
            depth += (mark == "{") - (mark == "}")
            assert depth >= 0, line
            dollars ^= mark == "$"
            assert mark not in "<>|_^" or dollars or "equation" in environments or "label" in line, line
        assert not dollars, line
    assert depth == 0
    assert not environments


def columns_of(row: str) -> int:
    return len(re.findall(r"(?<!\\)&", row)) + 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_strict_reader_accepts_it(folder):
    for file in documents(folder):
        text = file.read_text(encoding="utf-8")
        lint(text)
        for body in re.findall(r"\\midrule\n(.*?)\\bottomrule", text, re.DOTALL):
            assert len({columns_of(row) for row in body.strip().splitlines()}) == 1


def test_names_are_escaped_and_come_back():
    assert escape("S&P 500") == r"S\&P 500"
    assert escape("spx_ret") == r"spx\_ret"
    assert unescape(escape(HOSTILE)) == HOSTILE
    assert (
        in_ascii(escape("S\u00e3o \u03b2 \u65e5 \u0141\u00f3d\u017a"))
        == r"S\~{a}o $\beta$ [U+65E5] [U+0141]\'{o}d\'{z}"
    )
    assert in_ascii(escape("a\nb")) == "a b"


@pytest.mark.parametrize(
    "name", ["btc_silver", "coupling", "moderated", "point_lag", "garch", "btc_eth", "silver_and_gold"]
)
def test_formulas_fit_a_column(name):
    spec = rl.read_spec(name)
    for line in equations(spec, hand_panel(spec, 40)):
        made = broken(line.latex)
        lint("\\begin{equation*}\n" + in_ascii(made) + "\n\\end{equation*}")
        for part in made.removeprefix(r"\begin{aligned}").removesuffix(r"\end{aligned}").split(r"\\ &"):
            assert mathematics_width(part) <= COLUMN


def test_a_table_takes_a_column_or_the_page_and_wraps_text():
    numbers = pd.DataFrame({"name": ["first & only", "b"], "median": ["-1.25", "30"], "90 %": ["[-2, 1]", "[1, 2]"]})
    made = typeset(Shown(numbers, "Effect of S&P 500."), label="tab:one")
    assert r"\begin{table}[tbp]" in made
    assert r"\caption{Effect of S\&P 500.}\label{tab:one}" in made
    assert r"first \& only & $-$1.25 & [$-$2, 1] \tabularnewline" in made
    assert r"b & 30\phantom{.25} & [1, 2] \tabularnewline" in made
    wordy = pd.DataFrame({"a": ["word " * 40], "b": ["word " * 40], "n": ["1.5"]})
    made = typeset(Shown(wordy))
    assert r"\begin{table*}[tbp]" in made
    widths = [float(width) for width in re.findall(r"p\{(\d+)pt\}", made)]
    assert len(widths) == 2
    assert sum(widths) < PAGE
    many = pd.DataFrame({"name": ["x"]} | {f"model {n}": ["0.25"] for n in range(20)})
    made = typeset(Shown(many, "Models."), label="tab:m")
    assert made.count(r"\begin{table") > 1
    assert made.count(r"\label{tab:m}") == 1
    assert "(continued)" in made
    long = pd.DataFrame({"name": [f"row {n}" for n in range(100)]})
    assert typeset(Shown(long)).count(r"\begin{table") == 3


def test_only_tables_of_the_package_are_typeset(idata):
    report = rl.lag_report(idata)
    assert r"\begin{table" in rl.latex_table(report)
    assert r"\caption{Mine, 5 \%.}" in rl.latex_table(report, caption="Mine, 5 %.")
    for wrong in (report.iloc[:2], 3, pd.DataFrame({"a": [1]})):
        with pytest.raises(rl.errors.FitError, match="a table that regimelag returned"):
            rl.latex_table(wrong)


@pytest.mark.filterwarnings("ignore")
def test_models_are_side_by_side(idata):
    table = rl.model_table({"baseline": idata, "again": idata})
    shown = table.shown.table
    assert list(shown.columns) == ["quantity", "baseline", "again"]
    assert (shown["baseline"] == shown["again"]).all()
    rows = shown.set_index("quantity")["baseline"]
    assert rows["periods"] == "240"
    assert rows["lag kernel"] == "gamma"
    report = rl.lag_report(idata)
    median = report.loc[("bitcoin", "silver", "lagged effect", "all", "all"), ("posterior", "median")]
    assert float(rows["lagged effect"]) == pytest.approx(median, abs=0.005)
    with pytest.raises(rl.errors.FitError, match="at least one fit has a signal"):
        rl.model_table({})


def test_intervals_of_parameters_are_those_of_the_rest_of_the_report():
    """The 90 % interval, and called so: 0.95 - 0.05 is a little less than 0.9."""
    spec = small_spec()
    tree = prior_fit(spec, hand_panel(spec, 12), 40)
    frame = parameter_table(tree).frame
    scale = tree["posterior"]["log_scale"].to_numpy().ravel()
    row = frame.filter(like="log_scale[", axis=0).iloc[0]
    assert [row["eti90_lb"], row["eti90_ub"]] == pytest.approx(np.quantile(scale, [0.05, 0.95]))
