"""Fetch what the baseline model needs, into a CSV that examples/btc_silver.py fits.

Real yields and the dollar come from FRED; --as-of needs a free key, in the environment variable FRED_API_KEY or in a
file (https://fred.stlouisfed.org/docs/api/api_key.html). Silver and Bitcoin come from Yahoo, through yfinance (pip
install 'regimelag[market]'). A second run takes all of it from the cache:

    python examples/fetch_data.py --out prices.csv
    python examples/btc_silver.py --data prices.csv --start 2015-01-02 --out out/mine
"""

from __future__ import annotations

import argparse
from pathlib import Path

import regimelag as rl

FROM_FRED = ["real_yield_10y", "dollar_index"]
# Yahoo's Bitcoin begins in September 2014, ten weeks before FRED's.
FROM_MARKET = ["btc_usd", "silver_usd"]


def main() -> None:
    """Fetch, check that a panel can be made, and write."""
    arguments = parse_arguments()
    source = {"cache": arguments.cache, "max_age": arguments.max_age}
    try:
        macro = rl.fetch_fred(FROM_FRED, as_of=arguments.as_of, api_key_file=arguments.api_key_file, **source)
        market = rl.fetch_market(FROM_MARKET, **source)
    except rl.errors.FetchError as problem:
        raise SystemExit(str(problem)) from None
    print(*macro.attrs["notes"], *market.attrs["notes"], sep="\n")
    frame = macro.join(market, how="outer")
    if arguments.as_of is not None:
        frame = frame.loc[: arguments.as_of]
    panel = rl.make_panel(rl.read_spec("btc_silver"), frame)
    print(f"\n{rl.describe_panel(panel)}")

    out = Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(out)
    picture = out.with_suffix(".png")
    rl.plots.plot_prices(panel)[0].figure.savefig(picture)
    print(f"\nPrices of the response and the signal: {picture}")
    print(f"Wrote {len(frame)} days to {out}. Next:")
    print(f"  python examples/btc_silver.py --data {out} --start {panel.attrs['start']} --out out/mine")


def parse_arguments() -> argparse.Namespace:
    """Read the command line; the key is none of it, since other users of a machine can read command lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--api-key-file", metavar="FILE", help="file whose first line is the key, unless FRED_API_KEY is"
    )
    parser.add_argument("--out", metavar="CSV", default="out/prices.csv", help="file to write (%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is already there")
    parser.add_argument("--as-of", metavar="DATE", help="real yields and the dollar as they were known on that day")
    parser.add_argument("--cache", metavar="DIR", help="folder of the cache (regimelag, where caches are kept)")
    parser.add_argument("--max-age", metavar="AGE", help="fetch anew what was cached longer ago, 7D for instance")
    arguments = parser.parse_args()
    if Path(arguments.out).exists() and not arguments.overwrite:
        parser.error(f"{arguments.out} exists and would be replaced: pass --overwrite, or another --out")
    return arguments


if __name__ == "__main__":
    main()
