"""Lead and lag of two series without a model, by cross-correlations."""

from __future__ import annotations

import numpy as np
import xarray as xr

from regimelag.errors import PanelError
from regimelag.panel.checks import check_made, named_series
from regimelag.runtime.plain import drawn_seed, whole
from regimelag.spec import names as nm

LEVEL = 0.95


def lead_lag(
    panel: xr.Dataset,
    *,
    signal: str | None = None,
    response: str | None = None,
    max_lag: int | None = None,
    block: int | None = None,
    draws: int = 2000,
    random_seed: int | None = 0,
) -> xr.Dataset:
    """Estimate lead and lag of a signal and a response without a model.

    Parameters
    ----------
    panel : xarray.Dataset
        A panel from `make_panel`. Only the window's rows are used, of both series.
    signal, response : str, optional
        Which two series; needed where the panel has several.
    max_lag : int, optional
        Largest lag and lead, in rows; as many as the panel has rows of history, by default.
    block : int, optional
        Length of the bootstrap's blocks, in rows. By default `max_lag`, or the cube root of the number of rows if that
        is more, and at most a quarter of the rows.
    draws : int
        Bootstrap draws.
    random_seed : int, optional
        Seed.

    Returns
    -------
    xarray.Dataset
        By ``adjustment`` ("none", and "controls" if the panel has any: what least squares on the controls of the same
        row leaves of both series) and ``lag``, from -L to L, of which a positive one means that the response follows
        the signal: ``correlation``; ``band``, which 95 % of pairs of unrelated series keep within *at all lags at
        once*; ``peak_probability``, the share of bootstrap draws in which that lag has the largest absolute
        correlation. By adjustment: ``peak_lag``; ``beyond_band``, whether any lag leaves the band; ``ratio``, the sum
        of squared correlations at positive lags over that at negative ones, and ``ratio_low`` and ``ratio_high``,
        between which 95 % of unrelated series lie. Lags are in rows.

    Raises
    ------
    PanelError
        If a series is not named where there are several, is not in the panel, or the lags and blocks do not fit.

    Notes
    -----
    The lag at which the absolute cross-covariance is largest is the estimator of Hoffmann, Rosenbaum & Yoshida (2013),
    doi:10.3150/11-BEJ407. For rows observed at the same times the covariance of Hayashi & Yoshida (2005),
    doi:10.3150/bj/1116340299, on which it rests, is the sample cross-covariance. The ratio is that of Huth & Abergel
    (2014), doi:10.1016/j.jempfin.2014.01.003; above one the signal leads.

    Two bootstraps with circular blocks. For the band and the range of the ratio the signal is resampled against the
    response as it is, which keeps each series' own dependence and breaks that between them. (If both are volatile in
    the same rows, the band is somewhat too narrow.) For the peak the rows of products x[t - l] y[t] are resampled, all
    lags together, which keeps the dependence between the two. With no lag beyond the band the peak means nothing.
    """
    values = [nm.value_of(role) for role in (nm.SIGNAL, nm.RESPONSE, nm.CONTROL)]
    check_made(panel, "lead_lag", holds=values)
    names = {
        role: named_series("lead_lag", panel, role, name)
        for role, name in ((nm.SIGNAL, signal), (nm.RESPONSE, response))
    }
    rows = panel.sizes[nm.TIME]
    x = panel[nm.SIGNAL_VALUE].sel({nm.SIGNAL: names[nm.SIGNAL]}).to_numpy()[-rows:]
    y = panel[nm.RESPONSE_VALUE].sel({nm.RESPONSE: names[nm.RESPONSE]}).to_numpy()
    controls = panel[nm.CONTROL_VALUE].to_numpy()[-rows:]
    draws = whole(PanelError, "lead_lag", "draws", draws, "write draws=2000")
    seed = drawn_seed(PanelError, "lead_lag", random_seed)
    most = panel.sizes[nm.SIGNAL_TIME] - rows
    if max_lag is not None:
        most = whole(PanelError, "lead_lag", "max_lag", max_lag, "write max_lag=13, or leave max_lag out")
    length = min(max(most, round(rows ** (1 / 3))), rows // 4)
    if block is not None:
        length = whole(PanelError, "lead_lag", "block", block, "write block=13, or leave block out")
    if not (0 < most < rows / 2 and 0 < length <= rows):
        raise PanelError(
            "lead_lag",
            "max_lag is at least 1 and below half of the rows, and block lies within the rows",
            f"max_lag = {most}, block = {length}, {rows} rows",
            f"write max_lag={min(max(most, 1), (rows - 1) // 2)}, block={min(max(length, 1), rows // 4)}",
        )
    rng = np.random.default_rng(seed)
    pairs = {"none": (x, y)}
    if controls.shape[1]:
        pairs["controls"] = (_residual(x, controls), _residual(y, controls))
    found = [_estimate(*pair, most, length, draws, rng) for pair in pairs.values()]
    read = xr.concat(found, xr.DataArray(list(pairs), dims="adjustment", name="adjustment"))
    read.attrs = names | {
        "rows": rows,
        "block": length,
        "draws": draws,
        "frequency": panel.attrs.get("frequency", ""),
    }
    return read


def _residual(values: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Residual of least squares on a constant and the controls; NaN where the value is."""
    seen = ~np.isnan(values)
    design = np.column_stack([np.ones(len(values)), controls])
    return values - design @ np.linalg.lstsq(design[seen], values[seen])[0]


def _standard(values: np.ndarray) -> np.ndarray:
    """Centred and scaled to unit variance, missing values set to zero: they add nothing to a product."""
    return np.nan_to_num((values - np.nanmean(values)) / np.nanstd(values))


def _products(x: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
    """Products x[t - l] y[t] (time, lag) of standardised series, l from -L to L; zero where a partner is missing."""
    padded = np.concatenate([np.zeros(most), x, np.zeros(most)])
    columns = [padded[most - lag : most - lag + len(x)] for lag in range(-most, most + 1)]
    return np.stack(columns, axis=1) * y[:, None]


def _counts(x: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
    """Number of pairs (lag)."""
    return _products((~np.isnan(x)).astype(float), (~np.isnan(y)).astype(float), most).sum(axis=0)


def _ratio(correlation: np.ndarray) -> np.ndarray:
    """Squared correlations at positive lags over those at negative ones, (..., lag) -> (...)."""
    most = correlation.shape[-1] // 2
    squared = correlation**2
    return squared[..., most + 1 :].sum(axis=-1) / squared[..., :most].sum(axis=-1)


def _block_rows(rows: int, length: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Rows (draw, time) of a circular block bootstrap."""
    blocks = -(-rows // length)
    starts = rng.integers(rows, size=(draws, blocks))
    drawn = (starts[:, :, None] + np.arange(length)) % rows
    return drawn.reshape(draws, -1)[:, :rows]


def _estimate(x: np.ndarray, y: np.ndarray, most: int, length: int, draws: int, rng: np.random.Generator) -> xr.Dataset:
    counts = _counts(x, y, most)
    x, y = _standard(x), _standard(y)
    products = _products(x, y, most)
    correlation = products.sum(axis=0) / counts
    unrelated = np.array(
        [_products(x[rows], y, most).sum(axis=0) / counts for rows in _block_rows(len(x), length, draws, rng)]
    )
    sd = unrelated.std(axis=0)
    band = np.quantile(np.abs(unrelated / sd).max(axis=1), LEVEL) * sd
    low, high = np.quantile(_ratio(unrelated), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    related = [products[rows].sum(axis=0) / counts for rows in _block_rows(len(x), length, draws, rng)]
    peaks = np.abs(related).argmax(axis=1)
    lag = np.arange(-most, most + 1)
    return xr.Dataset(
        {
            "correlation": (nm.LAG, correlation),
            "band": (nm.LAG, band),
            "peak_probability": (nm.LAG, np.bincount(peaks, minlength=len(lag)) / draws),
            "peak_lag": ((), lag[np.abs(correlation).argmax()]),
            "beyond_band": ((), bool((np.abs(correlation) > band).any())),
            "ratio": ((), _ratio(correlation)),
            "ratio_low": ((), low),
            "ratio_high": ((), high),
        },
        coords={nm.LAG: lag},
    )
