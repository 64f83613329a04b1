"""Hostile inputs: an error of ours or a right result, for every one. REGIMELAG_HOSTILE=all tries all of them."""

from __future__ import annotations

import importlib
import os
from itertools import islice

import pytest

from hostile.cases import failures

EVERY = bool(os.environ.get("REGIMELAG_HOSTILE"))
# One input of so many is tried in the ordinary suite.
SHARE = {"arguments": 24, "texts": 4, "errors_and_studies": 2, "network": 16, "fit_files": 48, "full_disks": 16}


@pytest.mark.parametrize("module", SHARE)
def test_every_hostile_input_is_refused_in_words_or_read_right(module, tmp_path):
    cases = importlib.import_module(f"hostile.{module}").cases(tmp_path)
    assert failures(islice(cases, 0, None, 1 if EVERY else SHARE[module])) == []
