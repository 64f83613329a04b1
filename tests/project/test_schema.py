"""The JSON schema of model files agrees with the reader, and the page on model files shows every key."""

from __future__ import annotations

import datetime as dt
import importlib.util
import re
import tomllib
import typing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import regimelag as rl
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.toml import spec_from_toml

ROOT = Path(__file__).parents[2]
MODELS = sorted((ROOT / "models").glob("*.toml"))
PAGE = (ROOT / "docs" / "toml.md").read_text(encoding="utf-8")
EXAMPLES = [block for block in re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if "name =" in block]
BASE = """
name = "base"
max_lag = 8
[[responses]]
name = "a"
column = "a"
[[signals]]
name = "b"
column = "b"
kernel = {kind = "gamma", mean_lag = 4.0}
[[drivers]]
name = "c"
column = "c"
[episodes]
starts = [2016-07-09]
[regimes]
count = 2
[priors.effect]
distribution = "Normal"
sigma = 0.5
"""
# What replaces what, so that both refuse the file.
WRONG = {
    "misspelled key": ("max_lag", "maxlag"),
    "text for a number": ("max_lag = 8", 'max_lag = "8"'),
    "fraction for a count": ("count = 2", "count = 2.5"),
    "unknown transform": ('column = "a"', 'column = "a"\ntransform = "return"'),
    "unknown kernel": ('"gamma"', '"gama"'),
    "parameter of another kernel": ("mean_lag = 4.0", "roughness = 0.3"),
    "kernel by name alone": ('{kind = "gamma", mean_lag = 4.0}', '"gamma"'),
    "key of another role": ('column = "c"', 'column = "c"\nkernel = {kind = "gamma"}'),
    "no column": ('column = "b"', ""),
    "date in quotes that is none": ("[2016-07-09]", '["soon"]'),
    "unknown distribution": ('"Normal"', '"Norml"'),
    "unknown parameter of a prior": ("sigma = 0.5", "sigma = 0.5\nwidth = 1.0"),
    "text for a truth value": ('column = "b"', 'column = "b"\ncontemporaneous = "false"'),
    "one table for a list of tables": ("[[responses]]", "[responses]"),
    "regimes in two forms": ("[regimes]", '[[regime_processes]]\nname = "p"\n[regimes]'),
    "no response": ('[[responses]]\nname = "a"\ncolumn = "a"\n', ""),
}


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("schema", ROOT / "docs" / "schema.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def accepts(page):
    """Whether the schema accepts a TOML text, whose dates are texts in JSON."""
    jsonschema = pytest.importorskip("jsonschema", reason="the group 'dev' is not installed")
    validator = jsonschema.Draft7Validator(page.schema(), format_checker=jsonschema.FormatChecker())

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        if isinstance(value, list):
            return [plain(one) for one in value]
        return value.isoformat() if isinstance(value, dt.date) else value

    return lambda text: validator.is_valid(plain(tomllib.loads(text)))


def test_the_file_is_that_of_the_classes(page):
    assert page.FILE.read_text(encoding="utf-8") == page.text(), "run python docs/schema.py"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.stem)
def test_bundled_models_are_valid(model, accepts):
    assert accepts(model.read_text(encoding="utf-8"))
    assert accepts(rl.read_spec(model).to_toml())


@pytest.mark.parametrize("what", WRONG)
def test_what_the_reader_refuses_is_not_valid(what, accepts):
    old, new = WRONG[what]
    assert old in BASE
    assert spec_from_toml(BASE).name == "base"
    assert accepts(BASE)
    wrong = BASE.replace(old, new, 1)
    with pytest.raises(rl.errors.SpecError):
        spec_from_toml(wrong)
    assert not accepts(wrong)


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: tomllib.loads(text)["name"])
def test_the_examples_of_the_page_are_read(text, accepts):
    assert spec_from_toml(text).name
    assert accepts(text)


def test_the_examples_show_every_key():
    shown = "\n".join(EXAMPLES)
    hints = typing.get_type_hints(ModelSpec)
    classes = [ModelSpec]
    for hint in hints.values():
        members = typing.get_args(hint) or (hint,)
        classes += [one for one in members if hasattr(one, "__dataclass_fields__")]
    keys = {one.name for cls in classes for one in fields(cls)}
    assert {"moderators", "forbidden", "starts", "drives"} <= keys
    assert {key for key in keys if not re.search(rf"\b{key}\b(?: =|\.|\]\])|\[{key}\]", shown)} == set()


def test_the_page_of_keys_has_a_meaning_for_every_key(page, tmp_path):
    page.write(tmp_path)
    written = (tmp_path / "keys.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", written, re.MULTILINE)
    assert len(rows) > 60
    assert all(len(meaning) > 10 for _, meaning in rows)
