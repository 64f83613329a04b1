"""A function that fails, in a module that other processes import fast."""

from __future__ import annotations

import regimelag as rl

PARTS = ("asked", "a rule", "what came", "the cure")


def raised(kind: type[rl.RegimelagError]) -> None:
    raise kind(*PARTS)
