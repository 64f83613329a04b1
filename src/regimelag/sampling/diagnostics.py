"""Convergence diagnostics of a fit in words, with cures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import xarray as xr

from regimelag.errors import FitError
from regimelag.panel.checks import panel_hash
from regimelag.sampling.modes import NEGLIGIBLE
from regimelag.sampling.modes_dataset import missed_modes
from regimelag.spec import names as nm
from regimelag.spec.model_spec import ModelSpec
from regimelag.spec.priors import DISTRIBUTIONS, ENDS
from regimelag.spec.terms import model_terms

RHAT_LIMIT, ESS_LIMIT, DIVERGENT_LIMIT = 1.01, 400, 0.001
BFMI_LIMIT = 0.3
# Share of draws with ambiguous labels of unordered regimes from which it is a fault.
AMBIGUOUS_LIMIT = 0.05
# Attribute of a fit: JSON with the shares of switched and of ambiguous draws, by process.
RELABELLED = "relabelled"
# Largest number of chains to recommend.
MANY = 100
# Attribute of a tree of stacked draws: JSON with the weights and their reliability.
STACKED = "stacked"
# Attributes of a fit: its diagnostics as JSON, and a hash of their inputs.
STORED, STORED_OF = "diagnostics", "diagnostics_of"
# Group with the runs within separated modes, and its variables beside the parameters: the mode of each draw (-1 outside
# the cell of its run's mode), and weights of the modes with Monte Carlo errors.
WITHIN_MODE = "within_mode"
MODE_OF, WEIGHT, WEIGHT_ERROR = "mode_of", "weight", "weight_error"
OF_EVIDENCE = ("log_evidence", "log_evidence_error")


def extreme_entry(values: xr.Dataset, *, largest: bool) -> tuple[float, str]:
    """Largest or smallest entry over all variables, and its label."""
    worst, where = (-np.inf, "") if largest else (np.inf, "")
    for name, array in values.data_vars.items():
        held = array.to_numpy()
        # Undefined for one chain, or for a constant entry.
        if np.isnan(held).all():
            continue
        place = int(np.nanargmax(held) if largest else np.nanargmin(held))
        value = float(held.flat[place])
        if (value > worst) if largest else (value < worst):
            index = np.unravel_index(place, held.shape)
            label = [str(array[dim].to_numpy()[i]) for dim, i in zip(array.dims, index, strict=True)]
            worst, where = value, f"{name}[{', '.join(label)}]" if label else str(name)
    return (worst, where) if where else (np.nan, "undefined")


def undefined_draws(values: xr.Dataset) -> list[str]:
    """Variables with NaN or infinite draws, and the number of such values."""
    bad = {
        name: (~np.isfinite(array)).sum().item() for name, array in values.data_vars.items() if array.dtype.kind == "f"
    }
    return [f"{name}: {count:,} of {values[name].size:,}" for name, count in bad.items() if count]


def require_kernels(spec: ModelSpec, group: str, parameters: xr.Dataset) -> None:
    """Refuse draws of kernel parameters outside the support of their priors, which have no lag weights."""
    terms = [term for lag in model_terms(spec, parameters.sizes.get(nm.EPISODE, 1)).lags for term in lag.kernel]
    for parameter in (parameter for term in terms for parameter in term.parameters()):
        low, high = ENDS.get(DISTRIBUTIONS[parameter.prior.distribution].support, (-np.inf, np.inf))
        held = parameters.get(parameter.name)
        if held is None or held.dtype.kind not in "iuf":
            continue
        outside = int(((held <= low) | (held >= high)).sum())
        if outside:
            rule = f"draws of {parameter.name} are between {low:g} and {high:g}, as its prior says"
            cure = "sample again; if the draws come from a file, copy the file again from where it was saved"
            raise FitError(f"the {group} of a fit", rule, f"{outside} of {held.size} outside", cure)


def require_fit(asked: str, idata: object) -> None:
    """Refuse a value that is not a tree of draws, such as a path, a spec or a panel."""
    if isinstance(idata, xr.DataTree):
        posterior = idata["posterior"].to_dataset() if "posterior" in idata.children else xr.Dataset()
        for dim in (nm.CHAIN, nm.DRAW) if posterior.data_vars else ():
            if not posterior.sizes.get(dim):
                came = f"no {dim}" if dim in posterior.dims else f"draws without the dimension {dim}"
                cure = f"keep it, by selecting with a list, as in idata.isel({dim}=[0])"
                raise FitError(asked, "draws have the dimensions chain and draw, and there is one at least", came, cure)
        return
    if isinstance(idata, (str, Path)):
        came, cure = f"the path {str(idata)!r}", f"read it first: load_fit({str(idata)!r})"
    else:
        came, cure = f"a {type(idata).__name__}", "pass what fit, sample or load_fit returned"
    raise FitError(asked, "the argument is a fit, a tree of draws", came, cure)


def convergence(idata: xr.DataTree) -> dict[str, float | str]:
    """Worst R-hat and effective sample sizes over all parameters, divergences and BFMI.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit, or any tree with a posterior.

    Returns
    -------
    dict
        ``rhat``, ``ess_bulk`` and ``ess_tail``, with the name of the parameter in ``..._of``; ``divergent`` and
        ``share_divergent``; ``bfmi`` (smallest over chains). Rank-normalised R-hat and effective sample sizes follow
        Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021), doi:10.1214/20-BA1221. For a posterior resampled from
        separated modes the worst values within a mode.
    """
    require_fit("convergence", idata)
    if WITHIN_MODE in idata.children:
        return _convergence_within_modes(idata[WITHIN_MODE].to_dataset())
    stats = idata["sample_stats"].to_dataset() if "sample_stats" in idata.children else xr.Dataset()
    return _extremes(idata["posterior"].to_dataset()) | _of_sampler(stats)


def within(posterior: xr.Dataset) -> tuple[float, float]:
    """Largest R-hat, and the smaller of bulk and tail effective sample size."""
    found = _extremes(posterior)
    return float(found["rhat"]), min(float(found["ess_bulk"]), float(found["ess_tail"]))


def _extremes(posterior: xr.Dataset) -> dict[str, float | str]:
    found: dict[str, float | str] = {}
    # Constant entries, such as the diagonal of a correlation, have no R-hat: zero divided by zero.
    with np.errstate(divide="ignore", invalid="ignore"):
        found["rhat"], found["rhat_of"] = extreme_entry(az.rhat(posterior), largest=True)
        for kind in ("bulk", "tail"):
            found[f"ess_{kind}"], found[f"ess_{kind}_of"] = extreme_entry(az.ess(posterior, method=kind), largest=False)
    return found


def _convergence_within_modes(runs: xr.Dataset) -> dict[str, float | str]:
    """Worst values over the modes; a mode with one run has no R-hat, and nor has the whole then."""
    parameters = parameters_of_runs(runs)
    worst: dict[str, float | str] = {}
    for mode in range(runs.sizes[nm.MODE]):
        # Runs that move between modes are in none.
        staying = (runs[MODE_OF] == mode).mean(nm.DRAW).to_numpy() > 0.5  # noqa: PLR2004
        one = _extremes(parameters.isel({nm.CHAIN: staying}))
        for name in ("rhat", "ess_bulk", "ess_tail"):
            now, before = float(one[name]), float(worst.get(name, np.nan))
            further = now > before if name == "rhat" else now < before
            if name not in worst or np.isnan(now) or further:
                worst |= {name: now, f"{name}_of": f"{one[f'{name}_of']} in mode {mode}"}
    return worst | _of_sampler(runs)


def parameters_of_runs(runs: xr.Dataset) -> xr.Dataset:
    """Parameters (chain, draw, ...) of the group within_mode, without its other variables."""
    own = (MODE_OF, WEIGHT, WEIGHT_ERROR, *OF_EVIDENCE, "diverging", "energy")
    return runs.drop_vars([name for name in own if name in runs])


def _of_sampler(stats: xr.Dataset) -> dict[str, float | str]:
    """Number of divergences and BFMI, where they are known."""
    found: dict[str, float | str] = {}
    if "diverging" in stats:
        found["divergent"] = int(stats["diverging"].sum())
        found["share_divergent"] = float(stats["diverging"].mean())
    if "energy" in stats:
        found["bfmi"] = float(az.bfmi(stats)["energy"].min())
    return found


def diagnostics(idata: xr.DataTree) -> list[str]:
    """Report convergence diagnostics in words, with a cure for each fault.

    Parameters
    ----------
    idata : xarray.DataTree
        A fit.

    Returns
    -------
    list of str
        Sentences: the first has the numbers, each further one a problem with its cure. For a stacked posterior, the
        weights.
    """
    require_fit("diagnostics", idata)
    if STACKED in idata.attrs:
        return _stacked_in_words(json.loads(idata.attrs[STACKED]))
    found = convergence(idata)
    rhat, bulk, tail = float(found["rhat"]), float(found["ess_bulk"]), float(found["ess_tail"])
    divergent, lost_share = found.get("divergent", 0), float(found.get("share_divergent", 0.0))
    said = []
    said.append(
        f"Largest R-hat {rhat:.4f} ({found['rhat_of']}), smallest bulk ESS {bulk:.0f} ({found['ess_bulk_of']}), "
        f"smallest tail ESS {tail:.0f}, {divergent} divergent draws ({100 * lost_share:.2f} %)."
    )
    if interruption(idata):
        said[0] += f" {interruption(idata)}"
    if WITHIN_MODE in idata.children:
        said[0] += f" {_weighted_modes(idata)}"
    labels = json.loads(idata.attrs.get(RELABELLED, "{}"))
    for process, one in labels.items():
        share = 100 * one["ambiguous"]
        said[0] += f" Regimes of {process} are not ordered: draws were relabelled, and {share:.1f} % are ambiguous."
        if one["ambiguous"] > AMBIGUOUS_LIMIT:
            said.append(
                f"The labels of the regimes of {process} are ambiguous in {share:.0f} % of the draws: its regimes "
                "overlap, and numbers by regime should not be interpreted. Order the regimes (order_by), or fit fewer."
            )
    lost = int(idata.attrs.get("chains", 0)) - int(idata.attrs.get("chains_kept", 0))
    if lost > 0:
        said.append(
            f"Chains that were interrupted before their first draw: {lost}. The others may have missed a mode that "
            "these would have found. Fit again."
        )
    undefined = undefined_draws(idata["posterior"].to_dataset())
    if undefined:
        said.append(
            f"Draws that are NaN or infinite ({'; '.join(undefined)}): nothing can be read from them. Fit again; if "
            "the fit comes from a file, copy the file again."
        )
    if np.isnan(rhat):
        said.append("R-hat needs two chains: one alone cannot show that it missed a mode. Fit with chains=4.")
    elif rhat > RHAT_LIMIT:
        said.append(
            f"R-hat above {RHAT_LIMIT}: the chains disagree on {found['rhat_of']}. {_carrying_weight(idata)}Look at "
            "regimelag.modes(idata) before averaging over them; if there is one mode, raise tune and draws; if "
            "several, tighten the priors that separate them, or weigh the chains by what they predict with "
            "regimelag.evaluation.stack_chains(idata)."
        )
    said += _missed(idata)
    if not min(bulk, tail) >= ESS_LIMIT:
        said.append(
            f"Effective sample size below {ESS_LIMIT}: intervals of {found['ess_bulk_of']} are noisy. Raise draws, or "
            "target_accept if draws also diverge."
        )
    if lost_share > DIVERGENT_LIMIT:
        said.append(
            f"{divergent} draws diverged: the posterior has corners the sampler missed, and it may be biased. Raise "
            "target_accept towards 0.99, or tighten the prior of scales that come near zero."
        )
    bfmi = float(found.get("bfmi", np.inf))
    if bfmi < BFMI_LIMIT:
        said.append(
            f"Energy moves slowly (BFMI {bfmi:.2f}, below {BFMI_LIMIT}): tails are explored badly. Raise tune, or "
            "tighten the widest priors."
        )
    return said


def store_diagnostics(idata: xr.DataTree) -> None:
    """Write the diagnostics of a tree to its attributes."""
    idata.attrs |= {STORED: json.dumps(diagnostics(idata)), STORED_OF: _diagnosed_hash(idata)}


def stored_diagnostics(idata: xr.DataTree) -> list[str]:
    """Diagnostics stored with a tree; computed again if its draws have changed."""
    if STORED_OF in idata.attrs and idata.attrs[STORED_OF] == _diagnosed_hash(idata):
        return list(json.loads(idata.attrs[STORED]))
    return diagnostics(idata)


def _diagnosed_hash(idata: xr.DataTree) -> str:
    digest = hashlib.sha256()
    for name in ("posterior", "sample_stats", "modes", WITHIN_MODE):
        if name in idata.children:
            held = idata[name].to_dataset()
            kept = [one for one in ("diverging", "energy") if one in held]
            digest.update((name + panel_hash(held[kept] if name == "sample_stats" else held)).encode())
    asked = {name: str(idata.attrs.get(name)) for name in ("chains", "chains_kept", "draws", "draws_kept", STACKED)}
    asked |= {RELABELLED: idata.attrs[RELABELLED]} if RELABELLED in idata.attrs else {}
    return hashlib.sha256(digest.digest() + json.dumps(asked).encode()).hexdigest()


def _missed(idata: xr.DataTree) -> Iterator[str]:
    """Sentences on modes with weight that no chain visited.

    R-hat detects chains in separate modes, but not a mode without a chain.
    """
    if "modes" not in idata.children:
        return
    catalogue = idata["modes"].to_dataset()
    for n in missed_modes(catalogue, idata["posterior"].to_dataset()):
        weight = float(catalogue["weight"][n])
        # A chain starts in a mode with the probability of its weight.
        chains = max(2, int(np.ceil(np.log(0.05) / np.log1p(-min(weight, 0.99)))))
        more = f" Or fit with more chains: of {chains}, one starts there with probability 0.95."
        yield (
            f"The chains missed mode {n}, of weight {weight:.2g}: every number leaves it out, and R-hat cannot see it. "
            "regimelag.modes(idata) says what differs there. Tighten the priors that allow it, or order the labels if "
            f"it only exchanges them.{more if chains <= MANY else ''}"
        )


def interruption(idata: xr.DataTree) -> str:
    """Sentence on interrupted sampling; empty if it was not interrupted."""
    chains, draws = ((idata.attrs.get(f"{name}_kept", 0), idata.attrs.get(name, 0)) for name in ("chains", "draws"))
    if all(kept >= asked for kept, asked in (chains, draws)):
        return ""
    return (
        f"Sampling was interrupted: {chains[0]} of {chains[1]} chains were kept, with {draws[0]:,} of {draws[1]:,} "
        "draws each."
    )


def _weighted_modes(idata: xr.DataTree) -> str:
    """Sentences on the weights of separated modes."""
    runs = idata[WITHIN_MODE].to_dataset()
    weights = zip(runs[WEIGHT].to_numpy(), runs[WEIGHT_ERROR].to_numpy(), strict=True)
    size = idata["posterior"].attrs.get("effective_sample_size", np.nan)
    return (
        f"The posterior has {runs.sizes[nm.MODE]} separated modes with weights "
        f"{', '.join(f'{weight:.3f} (Monte Carlo error {error:.1g})' for weight, error in weights)}, by bridge "
        f"sampling. It was resampled with these weights: R-hat and ESS are the worst within a mode, and the smallest "
        f"effective sample size of a posterior mean is {size:.0f}."
    )


def _carrying_weight(idata: xr.DataTree) -> str:
    """Number of modes with weight in words; empty if there is one, or no catalogue."""
    if "modes" not in idata.children or WITHIN_MODE in idata.children:
        return ""
    weight = idata["modes"]["weight"].to_numpy()
    count = int((weight >= NEGLIGIBLE * weight.max()).sum())
    return f"{count} modes carry weight, and a plain average over chains weighs them by chance. " if count > 1 else ""


def _stacked_in_words(stacked: dict[str, Any]) -> list[str]:
    """Sentences on stacked draws, for which R-hat and effective sample size are not defined."""
    weights = ", ".join(f"chain {chain} {weight:.2f}" for chain, weight in stacked["weights"].items())
    said = (
        f"Stacked draws: resampled from chains that need not mix, by weights ({weights}) under which they predict best "
        "together. They are not the posterior, and the weights are not the modes' masses; R-hat and effective sample "
        "size do not apply."
    )
    return [said, *(f"Cluster {n}: {words}." for n, words in enumerate(stacked["reliability"]))]
