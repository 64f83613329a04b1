"""The shortest honest fit: simulated data, the baseline model, what the sampler says of itself, and the verdict.

Run it from anywhere: python shortest.py
"""

import regimelag as rl

if __name__ == "__main__":
    spec = rl.read_spec("btc_silver")
    panel = rl.make_panel(spec, rl.example_panel(as_frame=True), start="2013-01-01")
    idata = rl.fit(spec, panel, random_seed=1)
    print(*rl.diagnostics(idata), sep="\n")
    print(*rl.lag_report(idata).attrs["verdict"].values(), sep="\n")
