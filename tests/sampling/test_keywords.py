"""Keywords of `fit` and `sample` that nobody knows are refused before anything is compiled; the samplers' own pass."""

from __future__ import annotations

import inspect

import nutpie
import pymc as pm
import pytest

import regimelag as rl
from regimelag.sampling import fit as module
from regimelag.sampling.sampler_kwargs import SET, check_keywords

REFUSED = {
    "misspelled seed": ({"random_sed": 1}, "random_seed"),
    "misspelled draws": ({"draw": 100}, "draws"),
    "misspelled accept": ({"target_acept": 0.9}, "target_accept"),
    "misspelled prior draws": ({"priordraws": 100}, "prior_draws"),
    "nutpie's seed": ({"seed": 1}, "random_seed"),
    "nutpie's bar": ({"progress_bar": False}, "progressbar"),
    "what is set": ({"save_warmup": True}, "drop it"),
    "PyMC's name of a setting": ({"max_treedepth": 8}, "maxdepth"),
    "another library": ({"sampler": "numpyro"}, "nuts_sampler"),
    "adaptation that is none": ({"adaptation": "dense"}, "choose one"),
    "nothing alike": ({"zzz": 1}, "drop it"),
    "nutpie's with PyMC": ({"nuts_sampler": "pymc", "adaptation": "diag"}, ""),
    "what is set with PyMC": ({"nuts_sampler": "pymc", "initvals": []}, "drop it"),
    "NumPyro's name of a setting": ({"nuts_sampler": "numpyro", "target_accept_prob": 0.9}, "target_accept"),
    "nutpie's with NumPyro": ({"nuts_sampler": "numpyro", "maxdepth": 9}, ""),
    "misspelled with NumPyro": ({"nuts_sampler": "numpyro", "max_tree_dept": 9}, "max_tree_depth"),
    "a backend that is none": ({"backend": "torch"}, "choose one"),
    "a backend with NumPyro": ({"nuts_sampler": "numpyro", "backend": "jax"}, ""),
    "chains with nutpie": ({"chain_method": "vectorized"}, ""),
    "seed no number": ({"random_seed": "one"}, "random_seed=1"),
    "seed below zero": ({"random_seed": -1}, "random_seed=1"),
    "accept no number": ({"target_accept": "0.9"}, "target_accept=0.95"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_anything_is_compiled(name, monkeypatch, tiny):
    given, cure = REFUSED[name]
    monkeypatch.setattr(module, "CompiledModel", None)
    spec, panel, _ = tiny
    with pytest.raises(rl.errors.FitError) as caught:
        rl.fit(spec, panel, **given)
    assert cure in caught.value.cure
    assert all((caught.value.rule, caught.value.came))
    if "prior" not in name:
        with pm.Model() as model, pytest.raises(rl.errors.FitError, match=r"^sample\n"):
            rl.sample(model, **given)


@pytest.mark.parametrize("name", ["nutpie", "pymc"])
def test_every_keyword_of_the_sampler_is_known(name):
    """Those of the signature, and of the settings behind it; what `fit` sets itself has a cure of its own."""
    own = inspect.signature(rl.fit).parameters
    behind = {
        "nutpie": [
            "maxdepth",
            "mindepth",
            "store_divergences",
            "mass_matrix_gamma",
            "target_accept",
            "step_size_jitter",
        ],
        "pymc": ["max_treedepth", "step_scale", "nuts", "target_accept"],
    }
    function = {"nutpie": nutpie.sample, "pymc": pm.sample}[name]
    known = {keyword for keyword, one in inspect.signature(function).parameters.items() if one.kind != one.VAR_KEYWORD}
    assert set(SET[name]) < known
    for keyword in [*(known - set(SET[name])), *behind[name]]:
        value = {"sampler": "nuts", "adaptation": "diag"}.get(keyword, 1)
        check_keywords("fit", name, {keyword: value}, own)
    for keyword in SET[name]:
        with pytest.raises(rl.errors.FitError, match=f"fit sets {keyword} itself"):
            check_keywords("fit", name, {keyword: 1}, own)
