"""Does carbon dioxide in the air rise faster after the Pacific has warmed, and how late? Nothing financial in it.

Response: by how much CO2 at Mauna Loa rose over a quarter (ppm, the seasonal cycle taken out). Signal: the temperature
of the sea off Peru (degrees, region Nino 1+2, likewise), which is high during an El Nino. Control: the calendar year,
since emissions grow. Both records come with statsmodels, 1958 to 2001. The answer is in the literature: warm water
comes before fast rises by about one season at Mauna Loa ("On the relation between atmospheric CO2 and equatorial
sea-surface temperature", Tellus B, 1987, doi:10.1111/j.1600-0889.1987.tb00280.x).

The script fits the model with one regime and with two, prints both answers, asks which one predicts better, and draws
the lag. The rise between two quarters' means lies half a quarter before the row it stands on, so a lag of two rows is
one and a half quarters:

    python examples/el_nino.py
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import xarray as xr
from statsmodels.datasets import co2, elnino

import regimelag as rl

mpl.use("Agg")
WITHIN = (1, 3)  # quarters
# Three quarters, give or take one and a half; the whole weight within two years.
KERNEL = rl.kernels.Gamma(mean_lag=3.0, mean_lag_sd=1.5, spread=1.5, spread_sd=1.0)
ONE = rl.ModelSpec(
    name="el_nino",
    claim="Carbon dioxide rises faster some quarters after the eastern Pacific has warmed.",
    responses=(rl.Response("carbon dioxide", "co2", transform="difference"),),
    signals=(rl.Signal("Pacific", "sea_surface", transform="level", kernel=KERNEL),),
    controls=(rl.Control("year", "year", transform="level"),),
    frequency="QE",
    max_lag=8,
    regimes=rl.spec.Regimes(count=1),
)
TWO = dataclasses.replace(ONE, name="el_nino_two_regimes", regimes=rl.spec.Regimes(count=2))


def load() -> pd.DataFrame:
    """Quarterly means of both records, seasonally adjusted, with the calendar year."""
    carbon = co2.load_pandas().data["co2"].resample("ME").mean()
    wide = elnino.load_pandas().data.set_index("YEAR")
    months = pd.date_range(f"{int(wide.index[0])}-01-31", periods=wide.size, freq="ME")
    sea = pd.Series(wide.to_numpy().ravel(), index=months)
    columns = {"co2": without_season(carbon), "sea_surface": without_season(sea)}
    # Of the first quarter, 1958, only March is there.
    columns = {name: column.resample("QE").mean() for name, column in columns.items()}
    frame = pd.concat(columns, axis=1, sort=True)
    return frame.assign(year=frame.index.year + frame.index.quarter / 4)


def without_season(monthly: pd.Series) -> pd.Series:
    """A monthly series less the mean departure of each calendar month from the running year."""
    departure = monthly - monthly.rolling(12, center=True, min_periods=9).mean()
    return monthly - departure.groupby(departure.index.month).transform("mean")


def main() -> None:
    """Fit both models and print what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000, help="draws of each chain, after as many of tuning")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", metavar="DIR", default="out/el_nino", help="folder of the figure (%(default)s)")
    arguments = parser.parse_args()
    frame = load()
    counts = {"draws": arguments.draws, "tune": arguments.draws, "chains": arguments.chains}
    fits = {}
    for spec in (ONE, TWO):
        panel = rl.make_panel(spec, frame, start="1958-07-01", end="2001-12-31")
        fits[spec.name] = rl.fit(spec, panel, random_seed=arguments.seed, **counts)
    print(f"\n{ONE.claim}\n{title(panel)}")
    for name, idata in fits.items():
        print(f"\n{name}\n{rl.summary(idata, within=WITHIN)}")
    print(f"\nModels side by side\n{rl.model_table(fits)}")
    print(f"\nWhich of them predicts a quarter better, given all others\n{rl.compare(fits)}")
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    lag, prior = (rl.lag_distribution(fits[ONE.name], group=group, within=WITHIN) for group in ("posterior", "prior"))
    rl.plots.plot_lag(lag, prior=prior)[0, 0].figure.savefig(out / "el_nino.png")
    print(f"\nLag weights and mean lag in quarters, posterior and prior: {out / 'el_nino.png'}")


def title(panel: xr.Dataset) -> str:
    """How many quarters, and which."""
    dates = panel["time"].dt.strftime("%Y-%m").to_numpy()
    return f"{len(dates)} quarters, {dates[0]} to {dates[-1]}; Mauna Loa and Nino 1+2, as statsmodels ships them."


if __name__ == "__main__":
    main()
