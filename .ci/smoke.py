"""A short fit by the installed package, saved, loaded and reported; it ends with an error if anything is amiss.

.ci/test_release.py runs it with the lowest and with the newest versions that are allowed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import regimelag as rl

if __name__ == "__main__":
    out = Path(sys.argv[1])
    spec = rl.read_spec("btc_silver")
    panel = rl.make_panel(spec, rl.example_panel(as_frame=True), start="2021-01-01")
    idata = rl.fit(
        spec, panel, draws=50, tune=100, chains=2, starts=4, prior_draws=50, random_seed=1, progressbar=False
    )
    for name in ("fit.nc", "fit.zarr"):
        loaded = rl.load_fit(rl.save_fit(idata, out / name))
        for group in idata.children:
            assert loaded[group].to_dataset().identical(idata[group].to_dataset()), (name, group)
    assert len(rl.lag_report(loaded)) > 0
    assert len(rl.diagnostics(loaded)) > 0
    page = rl.report(out / "fit.nc", out / "report")
    print(f"{page} is written.")
