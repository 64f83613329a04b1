"""The catalogue read out, on catalogues made by hand: what differs is put in, and must be said."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from builders import BY_ORIGIN, KERNEL, hand_panel, prior_fit, small_spec

import regimelag as rl

COLUMNS = ["weight", "log_posterior", "starts", "draws", "chains", "kind", "differs"]


def catalogue(first, *others) -> xr.Dataset:
    """A catalogue of the given modes (datasets without a mode dimension), in order."""
    modes = [first, *others]
    found = xr.concat(modes, "mode", data_vars="all", combine_attrs="override")
    count = len(modes)
    weights = 0.5 ** np.arange(1, count + 1)
    found["weight"] = ("mode", weights / weights.sum())
    found["log_posterior"] = ("mode", -100.0 - np.arange(count))
    found["starts"] = ("mode", np.arange(count, 0, -1))
    return found


def own(spec, *changes, draws=100):
    """A fit whose posterior is the prior, and modes at its mean, each changed by one of the functions given."""
    tree = prior_fit(spec, hand_panel(spec, 30), draws)
    first = tree["posterior"].to_dataset().mean(("chain", "draw"))
    for name, values in first.data_vars.items():
        values.attrs["role"] = "deterministic" if name in ("effect_regime", "effect_episode") else "free"
    others = []
    for change in changes:
        other = first.copy(deep=True)
        change(other, tree["posterior"].to_dataset().std(("chain", "draw")))
        others.append(other)
    tree["modes"] = xr.DataTree(catalogue(first, *others))
    return tree


def swap_regimes(mode, _):
    for name in ("intercept", "stay_log_odds", "effect_regime", "effect_regime_raw", "driver_effect"):
        axis = [k for k, dim in enumerate(mode[name].dims) if dim in ("regime", "destination")]
        mode[name].values = np.flip(mode[name].values, axis=axis)


def spread_regimes(mode, sd):
    """Regimes far apart in intercept and persistence, as labels can be told by nothing else."""
    mode["intercept"].values[:] = np.array([[-4.0, 4.0]]) * sd["intercept"].values
    mode["stay_log_odds"].values[:] += np.array([-3.0, 3.0]) * sd["stay_log_odds"].values


@pytest.mark.slow
def test_kinds_are_said_with_their_largest_move():
    def scale(mode, sd):
        mode["log_scale"].values[0] += 3 * float(sd["log_scale"][0])

    def persistence(mode, sd):
        mode["stay_log_odds"].values[1] += 2 * float(sd["stay_log_odds"][1])
        mode["driver_effect"].values[0] += 1.5 * sd["driver_effect"].values[0]

    def effect(mode, sd):
        mode["effect"].values[0] -= 5 * float(sd["effect"][0])
        mode["intercept"].values[0, 0] += 4 * float(sd["intercept"][0, 0])

    def near(mode, sd):
        mode["effect"].values[0] += 0.5 * float(sd["effect"][0])

    table = rl.modes(own(small_spec(), scale, persistence, effect, near))
    assert list(table.columns) == COLUMNS
    kinds = table["kind"].tolist()
    assert kinds[0] == ""
    assert kinds[1].startswith("scale (log_scale[asset] ")
    assert kinds[2].startswith("persistence (stay_log_odds[turbulent] ")
    assert kinds[3].startswith("effect (effect[metal] ")
    assert "; other (intercept[asset, calm] " in kinds[3]
    assert kinds[4] == ""
    assert table["differs"][3].startswith("effect[metal] ")
    assert "->" in table["differs"][3]


def test_a_lag_is_said_in_periods():
    """Mean lags at both modes, from the kernel's own weights."""

    def shifted(mode, sd):
        for name in [name for name in mode.data_vars if str(name).startswith("metal_lag_")]:
            mode[name].values += 3 * sd[name].values

    spec = small_spec()
    tree = own(spec, shifted)
    # Whether draws reached a mode to which none is nearest: not asked of these.
    tree["modes"]["reached"] = ("mode", [np.nan, np.nan])
    names = KERNEL.priors(spec.max_lag)
    lags = []
    for n in range(2):
        values = {name: tree["modes"][f"metal_lag_{name}"].to_numpy()[n] for name in names}
        lags.append(float(KERNEL.weights(values, spec.max_lag) @ np.arange(1, spec.max_lag + 1)))
    assert rl.modes(tree)["kind"][1] == f"lag (mean lag of metal {lags[0]:.1f} -> {lags[1]:.1f} weeks)"


def test_the_lag_of_a_control_is_said_of_a_model_without_lagged_signals():
    """As in the null without the signal, whose controls may act late."""

    def shifted(mode, sd):
        for name in [name for name in mode.data_vars if str(name).startswith("control_dollar_lag_")]:
            mode[name].values += 3 * sd[name].values

    spec = small_spec(signals=(), controls=(rl.Control("dollar", "dollar", kernel=KERNEL),))
    tree = own(spec, shifted)
    tree["modes"]["reached"] = ("mode", [np.nan, np.nan])
    assert rl.modes(tree)["kind"][1].startswith("lag (mean lag of the control dollar ")


@pytest.mark.slow
def test_exchanged_labels_are_told_from_real_differences():
    spec = small_spec()
    tree = own(spec, lambda mode, sd: None, draws=100)
    sd = tree["posterior"].to_dataset().std(("chain", "draw"))
    first = tree["modes"].to_dataset().isel(mode=0).drop_vars(["weight", "log_posterior", "starts"])
    spread_regimes(first, sd)
    swapped, both = first.copy(deep=True), first.copy(deep=True)
    swap_regimes(swapped, sd)
    swap_regimes(both, sd)
    both["log_scale"].values[0] += 3 * float(sd["log_scale"][0])
    tree["modes"] = xr.DataTree(catalogue(first, swapped, both))
    kinds = rl.modes(tree)["kind"].tolist()
    assert kinds[1] == "labels (calm as turbulent, turbulent as calm)"
    assert kinds[2].startswith("labels (calm as turbulent, turbulent as calm); scale (log_scale[asset] ")


def test_three_labels_rotate_with_their_onward_odds():
    """Relabelled by hand through the full matrix of odds, which the model holds by (regime, onward)."""
    spec = small_spec(regimes=rl.spec.Regimes(count=3, transitions=BY_ORIGIN))
    tree = own(spec, lambda mode, sd: None, draws=100)
    first = tree["modes"].to_dataset().isel(mode=0).drop_vars(["weight", "log_posterior", "starts"])
    sd = tree["posterior"].to_dataset().std(("chain", "draw"))
    rng = np.random.default_rng(0)
    for name in ("intercept", "stay_log_odds", "leave_log_weights", "driver_effect", "driver_origin_raw"):
        first[name].values = 3 * sd[name].values * rng.standard_normal(first[name].shape)
    order = [1, 2, 0]
    other = first.copy(deep=True)
    for name, values in first.data_vars.items():
        for axis, dim in enumerate(values.dims):
            if dim in ("regime", "origin", "destination") and name != "leave_log_weights":
                other[name].values = np.take(other[name].values, order, axis=axis)
    odds = np.full((3, 3), np.nan)
    for i in range(3):
        odds[i, [j for j in range(3) if j != i]] = first["leave_log_weights"].values[i]
    turned = odds[np.ix_(order, order)]
    other["leave_log_weights"].values = [[turned[i, j] for j in range(3) if j != i] for i in range(3)]
    tree["modes"] = xr.DataTree(catalogue(first, other))
    # The mode's regime k is the first's order[k]: the first's calm appears as the mode's turbulent, and so on.
    assert rl.modes(tree)["kind"][1] == "labels (calm as turbulent, middle as calm, turbulent as middle)"


def foreign(seed=0, share=0.25):
    """A tree without a spec: chain 0 near the first mode; in chain 1 a share of the draws near the second."""
    rng = np.random.default_rng(seed)
    coords = {"regime": ["a", "b"], "origin": ["a", "b"], "destination": ["a", "b"]}
    matrix = ("origin", "destination")
    first = xr.Dataset(
        {"rate": ("regime", [1.0, 9.0]), "transition": (matrix, [[0.9, 0.1], [0.3, 0.7]]), "sigma": ((), 1.0)},
        coords=coords,
    )
    other = first.isel({dim: [1, 0] for dim in coords}).assign_coords(coords)
    other["sigma"] = other["sigma"] + 0.5
    for mode in (first, other):
        for values in mode.data_vars.values():
            values.attrs["role"] = "free"
    where = np.zeros((2, 400), dtype=int)
    where[1, : int(400 * share)] = 1
    posterior = xr.concat([first, other], "mode").isel(mode=xr.DataArray(where, dims=("chain", "draw")))
    posterior = posterior.map(lambda values: values + 0.02 * rng.standard_normal(values.shape))
    posterior = posterior.assign_coords(chain=[0, 1], draw=np.arange(400))
    return xr.DataTree.from_dict({"/posterior": posterior, "/modes": catalogue(first, other)})


def test_a_tree_without_a_spec_is_read_and_says_where_its_draws_are():
    table = rl.modes(foreign())
    np.testing.assert_allclose(table["draws"], [0.875, 0.125])
    assert table["chains"].tolist() == ["0, 1", ""]
    assert rl.modes(foreign(share=1.0))["chains"].tolist() == ["0", "1"]
    assert table["kind"][1].startswith("labels (a as b, b as a)")
    assert "scale (sigma 1 -> 1.5)" in rl.modes(foreign(share=1.0))["kind"][1]


def test_what_never_moves_is_passed_over():
    tree = foreign(share=1.0)
    posterior = tree["posterior"].to_dataset()
    posterior["stuck"] = xr.zeros_like(posterior["sigma"])
    modes = tree["modes"].to_dataset()
    modes["stuck"] = ("mode", [0.0, 1.0])
    tree = xr.DataTree.from_dict({"/posterior": posterior, "/modes": modes})
    table = rl.modes(tree)
    assert np.isfinite(table["draws"]).all()
    assert "stuck" not in " ".join(table["kind"])


def test_a_tree_without_a_catalogue_is_refused():
    with pytest.raises(rl.errors.FitError, match=r"regimelag\.sample"):
        rl.modes(xr.DataTree.from_dict({"/posterior": foreign()["posterior"].to_dataset()}))
