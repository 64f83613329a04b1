"""What is released: the sdist, the wheel built from it, and that wheel at work in an environment outside the clone."""

from __future__ import annotations

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

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION = PROJECT["project"]["version"]
SHIPPED = {
    *("src", "models", "docs", "examples", "tests", "benchmarks", "paper", "pyproject.toml", "PKG-INFO", ".gitignore"),
    *("CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md"),
}
STRAY = re.compile(r"__pycache__|\.(pyc|nc|csv|parquet|lock|part|log|zip|gz|ipynb)$|(^|/)(out|dist|_?build)/")
MOST_BYTES = 1_000_000


def run(*command, **options) -> str:
    """Run a command that must succeed, without this environment's Python; return what it says."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
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
    (folder / "constraints.txt").write_text("\n".join(PROJECT["tool"]["uv"]["constraint-dependencies"]))
    run(uv, "venv", "--quiet", "--python", sys.executable, folder / "env")
    python = folder / "env" / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--python", python, "--constraint", folder / "constraints.txt", built[1])
    return folder, python


def test_the_sdist_holds_what_it_should_and_nothing_stray(in_sdist):
    assert {name.split("/")[0] for name in in_sdist} == SHIPPED
    assert not [name for name in in_sdist if STRAY.search(name)]


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
    assert 'Revealed type is "regimelag.spec.ModelSpec"' in said[0]
    assert 'Argument 1 to "read_spec" has incompatible type "int"' in said[1]


def test_the_installed_package_does_the_main_job(away):
    """The shortest example, from a folder that knows nothing of the clone."""
    folder, python = away
    shutil.copy(ROOT / "examples" / "shortest.py", folder)
    said = run(python, "shortest.py", cwd=folder)
    # Draws differ between machines: ten runs had an R-hat of at most 1.0053.
    assert float(re.search(r"Largest R-hat ([\d.]+)", said)[1]) <= 1.01
    assert "A positive lagged effect of silver." in said
