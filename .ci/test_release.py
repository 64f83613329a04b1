"""What is released: the sdist, the wheel built from it, and that wheel at work in an environment outside the clone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION = PROJECT["project"]["version"]
EXTRAS = ",".join(PROJECT["project"]["optional-dependencies"])
SHIPPED = {
    *("src", "models", "docs", "examples", "tests", "benchmarks", "paper", "pyproject.toml", "PKG-INFO", ".gitignore"),
    *("CITATION.cff", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "LICENSE", "licences.txt", "README.md"),
    "constraints.txt",
}
STRAY = re.compile(r"__pycache__|\.(pyc|nc|csv|parquet|lock|part|log|zip|gz|ipynb)$|(^|/)(out|dist|_?build)/")
MOST_BYTES = 1_000_000


def run(*command, environ=None, **options) -> str:
    """Run a command that must succeed, without this environment's Python; return what it says."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    inherited |= environ or {}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, env=inherited, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def uv():
    found = os.environ.get("UV") or shutil.which("uv")
    assert found is not None, "uv is not on the path"
    return found


@pytest.fixture(scope="session")
def built(uv, tmp_path_factory):
    """Paths of the sdist and of the wheel that was built from it."""
    out = tmp_path_factory.mktemp("built")
    run(uv, "build", "--quiet", "--out-dir", out, ROOT)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="session")
def in_sdist(built):
    with tarfile.open(built[0]) as archive:
        return {name.split("/", 1)[1] for name in archive.getnames()}


@pytest.fixture(scope="session")
def in_wheel(built):
    with zipfile.ZipFile(built[1]) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def away(uv, built, tmp_path_factory):
    """A folder outside the clone, with an environment that holds the wheel and the tested versions, no more."""
    folder = tmp_path_factory.mktemp("away")
    return folder, environment(uv, folder, "-c", ROOT / "constraints.txt", f"{built[1]}[{EXTRAS}]")


def environment(uv, folder, *wanted) -> Path:
    """The Python of a new environment in the folder that holds what is wanted."""
    run(uv, "venv", "--quiet", "--python", sys.executable, folder / "env")
    python = folder / "env" / "bin" / "python"
    # Outside the clone and without configuration, so that the clone's own constraints do not hold.
    run(uv, "pip", "install", "--quiet", "--no-config", "--python", python, *wanted, cwd=folder)
    return python


def test_the_sdist_holds_what_it_should_and_nothing_stray(in_sdist):
    assert {name.split("/")[0] for name in in_sdist} == SHIPPED
    # The tables that docs/rivals.md plots are results of our own simulations: they belong to the page.
    assert not [name for name in in_sdist if STRAY.search(name) and not name.startswith("docs/measured/")]


def test_the_wheel_holds_the_package_and_its_models(in_wheel, built):
    assert built[1].stat().st_size < MOST_BYTES
    info = f"regimelag-{VERSION}.dist-info"
    assert {name.split("/")[0] for name in in_wheel} == {"regimelag", info}
    files = [file for file in (ROOT / "src").rglob("*.*") if file.is_file() and "__pycache__" not in file.parts]
    source = {str(file.relative_to(ROOT / "src")) for file in files}
    models = {f"regimelag/models/{file.name}" for file in (ROOT / "models").iterdir()}
    assert {name for name in in_wheel if not name.startswith(info)} == source | models
    assert "regimelag/py.typed" in in_wheel
    assert f"{info}/licenses/LICENSE" in in_wheel


def test_the_metadata_tell_the_readme_whose_links_lead_into_the_sdist(in_wheel, in_sdist):
    metadata = message_from_string(in_wheel[f"regimelag-{VERSION}.dist-info/METADATA"].decode())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().strip() == readme.strip()
    assert metadata["License-Expression"] == "BSD-3-Clause"
    links = [link for link in re.findall(r"\]\(([^)#]+)", readme) if "://" not in link]
    assert links
    assert set(links) <= in_sdist


def test_the_changelog_begins_with_this_version_and_names_model_changes():
    newest = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1]
    assert newest.startswith(f"{VERSION}, ")
    assert "\n### Model changes\n" in newest


def test_the_installed_package_is_silent_and_whole(away):
    folder, python = away
    assert run(python, "-W", "error", "-c", "import regimelag", cwd=folder) == ""
    ask = "import regimelag as rl; print(rl.__file__, rl.__version__, rl.read_spec('btc_silver').name)"
    file, version, name = run(python, "-c", ask, cwd=folder).split()
    assert Path(file).is_relative_to(folder)
    assert (version, name) == (VERSION, "btc_silver")


def test_a_users_script_is_checked_against_the_packages_types(away):
    """mypy sees the types of what is installed, and what is wrong by them."""
    folder, python = away
    script = "import regimelag as rl\nreveal_type(rl.read_spec('daily'))\nrl.read_spec(3)\n"
    (folder / "script.py").write_text(script)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--python-executable",
        python,
        "--cache-dir",
        folder / "cache",
        "script.py",
    ]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=folder)
    said = [line for line in done.stdout.splitlines() if line.startswith("script.py")]
    assert len(said) == 2, done.stdout + done.stderr
    assert 'Revealed type is "regimelag.spec.model_spec.ModelSpec"' in said[0]
    assert 'Argument 1 to "read_spec" has incompatible type "int"' in said[1]


def test_the_installed_package_does_the_main_job(away):
    """The shortest example, from a folder that knows nothing of the clone."""
    folder, python = away
    shutil.copy(ROOT / "examples" / "shortest.py", folder)
    said = run(python, "shortest.py", cwd=folder)
    # Draws differ between machines: ten runs had an R-hat of at most 1.0053.
    assert float(re.search(r"Largest R-hat ([\d.]+)", said)[1]) <= 1.01
    assert "A positive lagged effect of silver." in said


def test_uv_and_pip_accept_the_constraints(uv, away, built):
    """What was installed under them, and only that, stands in the file; pip would install the same."""
    folder, python = away
    constraints = ROOT / "constraints.txt"
    tested = [line for line in constraints.read_text().splitlines() if not line.startswith("#")]
    installed = run(uv, "pip", "freeze", "--python", python).splitlines()
    assert sorted(line for line in installed if "==" in line) == sorted(tested)
    run(uv, "pip", "install", "--quiet", "--python", python, "--target", folder / "pip", "pip")
    asked = ["install", "--dry-run", "--quiet", "--ignore-installed", "--report", folder / "report.json"]
    wanted = "-c", constraints, f"{built[1]}[{EXTRAS}]"
    run(python, "-m", "pip", *asked, *wanted, cwd=folder, environ={"PYTHONPATH": str(folder / "pip")})
    chosen = json.loads((folder / "report.json").read_text())["install"]
    named = {f"{canonicalize_name(one['metadata']['name'])}=={one['metadata']['version']}" for one in chosen}
    assert named - {f"regimelag=={VERSION}"} == set(tested)


@pytest.mark.parametrize("column", ["lowest-direct", "highest"])
def test_the_lowest_and_the_newest_versions_fit_save_load_and_report(column, uv, built, tmp_path):
    python = environment(uv, tmp_path, "--resolution", column, "-r", ROOT / "pyproject.toml", "--all-extras")
    run(uv, "pip", "install", "--quiet", "--no-deps", "--python", python, built[1])
    run(uv, "pip", "check", "--python", python)
    # Nothing that an earlier run compiled is used.
    flags = {"PYTENSOR_FLAGS": f"base_compiledir={tmp_path / 'compiled'}"}
    assert "is written" in run(python, ROOT / ".ci" / "smoke.py", tmp_path, cwd=tmp_path, environ=flags)


ASK = """
import regimelag as rl
try:
    rl.sample(None)
except rl.errors.FitError as error:
    print(error.came, error.cure, sep="\\n")
"""


def test_a_version_that_is_not_supported_is_refused_and_the_cure_installs_another(uv, away):
    folder, python = away
    run(uv, "pip", "install", "--quiet", "--no-deps", "--python", python, "nutpie==0.16.0", cwd=folder)
    came, cure = run(python, "-c", ASK, cwd=folder).splitlines()[:2]
    assert came == "nutpie 0.16.0"
    command = cure.partition(": ")[2]
    run("bash", "-c", command, cwd=folder, environ={"PATH": f"{Path(uv).parent}:{os.environ['PATH']}"})
    assert "nutpie" not in run(python, "-c", ASK, cwd=folder)
