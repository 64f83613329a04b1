"""Say which regime this week is in, and what changed since last week, from a fit that is not fitted again.

The first run fits the baseline model and saves it; later runs fetch the newest data and extend the saved fit. As a
weekly job, on Mondays at 23:00 UTC, after the dollar index is out:

    0 23 * * 1  cd /path/to/project && python examples/this_week.py --fit baseline.nc --out out/this_week

Data are fetched from FRED, with or without a key, and from Yahoo (pip install 'regimelag[market]') or Stooq; --data
reads a file instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import xarray as xr

import regimelag as rl

FROM_FRED = ["real_yield_10y", "dollar_index"]
FROM_MARKET = ["btc_usd", "silver_usd"]
SAMPLE = ("chain", "draw")


def main() -> None:
    """Fetch, extend the fit, print and write."""
    arguments = parse_arguments()
    frame = rl.read_series(arguments.data) if arguments.data else fetched(arguments)
    fit = frozen(Path(arguments.fit), frame, arguments)
    panel = rl.make_panel(rl.spec_of(fit), frame, start=rl.panel_of(fit).attrs["start"])
    lines = [*this_week(fit, panel), *changes(panel), *rl.regime_probabilities(fit, panel=panel).attrs["notes"]]
    print(*lines, sep="\n")
    out = Path(arguments.out)
    page = rl.report(fit, out / "report", overwrite=True)
    (out / "this_week.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"\nThe report of the fit is {page}")
    print(f"Prices with the probability of the turbulent regime: {page.parent / 'figures' / 'prices.png'}")


def fetched(arguments: argparse.Namespace) -> pd.DataFrame:
    """Data of the baseline model, at most a day old."""
    source = {"cache": arguments.cache, "max_age": "1D"}
    try:
        macro = rl.fetch_fred(FROM_FRED, **source)
        market = rl.fetch_market(FROM_MARKET, source=arguments.source, **source)
    except rl.errors.FetchError as problem:
        raise SystemExit(str(problem)) from None
    return macro.join(market, how="outer")


def frozen(path: Path, frame: pd.DataFrame, arguments: argparse.Namespace) -> xr.DataTree:
    """The saved fit; the first time, a new one."""
    if path.exists():
        return rl.load_fit(path)
    spec = rl.read_spec("btc_silver")
    fit = rl.fit(spec, rl.make_panel(spec, frame, start=arguments.start), random_seed=1)
    rl.save_fit(fit, path)
    return fit


def this_week(fit: xr.DataTree, panel: xr.Dataset) -> list[str]:
    """The probability of each regime now and a week before, and the most likely one."""
    probability = rl.regime_probabilities(fit, panel=panel).mean(SAMPLE)
    now, before = probability.isel(time=-1), probability.isel(time=-2)
    likely = str(now["regime"].to_numpy()[now.to_numpy().argmax()])
    fitted = pd.DatetimeIndex(rl.panel_of(fit)["time"].to_numpy())[-1].date()
    lines = [f"Week to {panel.attrs['end']}: most likely in regime {likely}. Parameters as fitted up to {fitted}."]
    for regime in now["regime"].to_numpy():
        this, last = float(now.sel(regime=regime)), float(before.sel(regime=regime))
        lines.append(f"  {regime}: probability {this:.2f}, {this - last:+.2f} since last week")
    return lines


def changes(panel: xr.Dataset) -> list[str]:
    """Levels of the last two weeks."""
    held = panel["level"].isel(signal_time=slice(-2, None)).transpose("leg", "signal_time")
    rows = {str(name): values for name, values in zip(panel["leg_column"].to_numpy(), held.to_numpy(), strict=True)}
    return [
        "Levels, last week and this week:",
        *(f"  {name}: {one:.5g}, {two:.5g}" for name, (one, two) in rows.items()),
    ]


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", metavar="FILE", default="baseline.nc", help="the saved fit (%(default)s)")
    parser.add_argument("--data", metavar="CSV", help="a file with the model's columns, in place of fetching")
    parser.add_argument("--source", choices=["yahoo", "stooq"], default="yahoo", help="where prices come from")
    parser.add_argument("--start", metavar="DATE", help="first week of a new fit")
    parser.add_argument("--cache", metavar="DIR", help="folder of the cache (regimelag, where caches are kept)")
    parser.add_argument("--out", metavar="DIR", default="out/this_week", help="folder of the report (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
