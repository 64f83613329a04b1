"""The shortest complete fit: simulated data, the baseline model, a summary, and the lag as a picture.

Run it from anywhere: python shortest.py. It writes shortest.png: the lag weights and the mean lag, posterior and prior.
"""

import matplotlib as mpl

import regimelag as rl

mpl.use("Agg")

if __name__ == "__main__":
    spec = rl.read_spec("btc_silver")
    panel = rl.make_panel(spec, rl.example_panel(as_frame=True), start="2013-01-01")
    idata = rl.fit(spec, panel, random_seed=1)
    print(rl.summary(idata))
    lag, prior = (rl.lag_distribution(idata, group=group) for group in ("posterior", "prior"))
    rl.plots.plot_lag(lag, prior=prior)[0, 0].figure.savefig("shortest.png")
    print("Lag weights and mean lag, posterior and prior: shortest.png")
