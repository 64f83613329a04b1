"""Say what the evidence allows, now that silver has closed above 100 USD and Bitcoin has not followed.

Without arguments on simulated data, in which Bitcoin does follow; with --data on any weekly CSV that has the
baseline model's columns, as of its last row:

    python examples/silver_at_100.py --data btc_silver_weekly.csv --end 2026-01-23 --out out/silver_at_100
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr

import regimelag as rl

mpl.use("Agg")
HALF_YEAR, YEAR, QUARTER = 26, 52, 13
SAMPLE = ("chain", "draw")
EASIER = {"moves": {"real_yield_10y": -0.5}, "factors": {"dollar_index": 0.97}}
TIGHTER = {"moves": {"real_yield_10y": 0.5}, "factors": {"dollar_index": 1 / 0.97}}


def main() -> None:
    """Fit the baseline model and its null, and look half a year ahead under three scenarios."""
    arguments = parse_arguments()
    frame = rl.example_panel(as_frame=True) if arguments.data is None else rl.read_series(arguments.data)
    fits, panels = {}, {}
    for name in ("btc_silver", "no_silver"):
        spec = rl.read_spec(name)
        panels[name] = rl.make_panel(spec, frame, start=arguments.start, end=arguments.end)
        fits[name] = rl.fit(spec, panels[name], random_seed=arguments.seed)
    baseline, panel = fits["btc_silver"], panels["btc_silver"]
    last = pd.Timestamp(panel["time"].to_numpy()[-1])
    origin = "simulated data, in which Bitcoin follows" if arguments.data is None else Path(arguments.data).name
    print(f"\n{origin}; as of {last.date()}, {panel.sizes['time']} weeks\n")
    print(rl.sentences(rl.summary(baseline).answer))

    rally = silver_returns(panel)[-HALF_YEAR:]
    answer = rl.evaluation.impulse_response(baseline, shock=rally, horizon=YEAR)
    fans = {
        name: rl.forecast(baseline, horizon=HALF_YEAR, scenario=path, random_seed=0)
        for name, path in scenarios(panel).items()
    }
    null = rl.forecast(fits["no_silver"], horizon=HALF_YEAR, random_seed=0)
    print_regime(baseline)
    print_answer(answer, rally)
    print_fans(fans, null)
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    with rl.plots.style():
        draw(fans, null, answer, frame["btc_usd"].loc[:last].iloc[-YEAR:], out / "silver_at_100.png")
    print(f"\nForecasts under three scenarios, and the response to silver: {out / 'silver_at_100.png'}")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="CSV", help="weekly CSV with the baseline model's columns; else simulated")
    parser.add_argument("--start", metavar="DATE", default="2013-01-01", help="first row of the window (%(default)s)")
    parser.add_argument("--end", metavar="DATE", help="last row of the window (the last one there is)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the sampler (%(default)s)")
    parser.add_argument("--out", metavar="DIR", default="out/silver_at_100", help="folder of the figure (%(default)s)")
    return parser.parse_args()


def silver_returns(panel: xr.Dataset) -> np.ndarray:
    """Silver's weekly log returns."""
    return (panel["signal_center"] + panel["signal_scale"] * panel["signal_value"]).sel(signal="silver").to_numpy()


def scenarios(panel: xr.Dataset) -> dict[str, pd.DataFrame | str]:
    """Three worlds: over a quarter real yields fall by 50 bp and the dollar by 3 %; nothing moves; the reverse."""
    return {
        "easier: yields -50 bp, dollar -3 %": rl.scenario(panel, horizon=HALF_YEAR, over=QUARTER, **EASIER),
        "unchanged": "held",
        "tighter: yields +50 bp, dollar +3 %": rl.scenario(panel, horizon=HALF_YEAR, over=QUARTER, **TIGHTER),
    }


def print_regime(idata: xr.DataTree) -> None:
    """Say which regime it is, and how sure one can be."""
    turbulent = rl.regime_probabilities(idata).isel(time=-1).sel(regime="turbulent")
    low, high = turbulent.quantile([0.05, 0.95], SAMPLE).to_numpy()
    print("\nWhich regime")
    print(f"  Turbulent with probability {float(turbulent.mean()):.2f}; over the posterior {low:.2f} to {high:.2f}.")


def print_answer(answer: xr.Dataset, rally: np.ndarray) -> None:
    """Say what the rally should have done by now, and what is still to come."""
    now = answer["averaged"].sel(step=len(rally) - 1)
    ahead = answer["averaged"].sel(step=YEAR) - now
    print(f"\nThe response to silver's rally ({rally.sum():+.2f} in logarithms over {len(rally)} weeks)")
    print(f"  by now        {interval(now)}")
    print(f"  still to come {interval(ahead)}, P(> 0) = {float((ahead > 0).mean()):.2f}")
    if answer.attrs["extrapolation"]:
        print(f"  {answer.attrs['extrapolation']}")


def interval(values: xr.DataArray) -> str:
    """Median and 90 % interval of a log return."""
    low, median, high = values.quantile([0.05, 0.5, 0.95]).to_numpy()
    return f"{median:+.2f} (90 % interval {low:+.2f} to {high:+.2f})"


def print_fans(fans: dict[str, xr.Dataset], null: xr.Dataset) -> None:
    """Tabulate Bitcoin's price after half a year, and the chance of turbulence on the way."""
    named = {**fans, "unchanged, model without silver": null}
    rows = {}
    for name, fan in named.items():
        end = fan["path"].isel(step=-1)
        quantiles = end.quantile([0.05, 0.25, 0.5, 0.75, 0.95]).to_numpy()
        rows[name] = dict(zip(["5 %", "25 %", "median", "75 %", "95 %"], quantiles, strict=True))
        rows[name]["P(up)"] = float((fan["response_value"].sum("step") > 0).mean())
        rows[name]["P(turbulent)"] = float(fan["regime_probability"].sel(regime="turbulent").mean())
    print(f"\nBitcoin's price in {HALF_YEAR} weeks, silver where it is")
    formats = dict.fromkeys(("5 %", "25 %", "median", "75 %", "95 %"), "{:,.0f}".format)
    print(pd.DataFrame(rows).T.to_string(formatters=formats, float_format="{:.2f}".format))


def draw(fans: dict[str, xr.Dataset], null: xr.Dataset, answer: xr.Dataset, history: pd.Series, file: Path) -> None:
    """Draw the fans on one scale, and the answer to the rally below them."""
    figure, axes = plt.subplot_mosaic([["a", "b"], ["c", "d"], ["e", "e"]], figsize=(7, 7.5), layout="constrained")
    named = [*fans.items(), ("unchanged, model without silver", null)]
    for key, (name, fan) in zip("abcd", named, strict=True):
        rl.plots.plot_forecast(fan, history=history, ax=axes[key]).set_title(name)
    limits = [axes[key].get_ylim() for key in "abcd"]
    for key in "abcd":
        axes[key].set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        if key != "b":
            axes[key].get_legend().remove()
    rl.plots.plot_impulse(answer, ax=axes["e"])
    figure.savefig(file)


if __name__ == "__main__":
    main()
