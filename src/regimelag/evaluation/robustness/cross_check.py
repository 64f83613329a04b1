"""Two sources of the same series compared: dates, level and timing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from regimelag.errors import PanelError
from regimelag.panel.frame_checks import check_frame, take_columns, truncate_list
from regimelag.runtime.result_table import readable
from regimelag.spec import names as nm

LEAST_DATES = 10
# Levels of two sources that quote at different hours differ by a few per cent at most.
LEVEL, LARGEST_GAP = 0.02, 0.1
MOST_SHIFT = 2


def cross_check(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Compare two sources of the same columns in dates, level and timing.

    Parameters
    ----------
    one, other : DataFrame (date, column)
        From `read_series`, `fetch_market` or `fetch_fred`. Columns of the same name are compared.

    Returns
    -------
    DataFrame (column)
        ``dates``, the number of dates in both, ``only_one`` and ``only_other``, within the range of both;

        ``ratio``, the median of other / one; ``largest_gap``, the largest relative difference from it, and its
        ``gap_date``;

        ``shift``, the number of dates by which `other` is late, from -2 to 2, with the highest correlation of changes,
        and ``correlation``, that correlation; ``correlation_same``, that of equal dates.

        ``attrs["sentences"]`` says what differs; it is empty if nothing does.

    Raises
    ------
    PanelError
        If the frames have no column in common, or fewer than 10 dates.

    Notes
    -----
    A source that dates its values a day later, such as one that stamps 00:00, has its highest correlation at a shift of
    1. Prices that are made some hours apart correlate at 0 and 1.
    """
    asked = "cross_check"
    frames = [take_columns(check_frame(frame, asked), frame.columns, asked) for frame in (one, other)]
    shared = [str(name) for name in frames[0].columns if name in frames[1].columns]
    if not shared:
        came = f"{truncate_list(one.columns)} and {truncate_list(other.columns)}"
        cure = 'rename one, as in other.rename(columns={"Close": "silver_usd"})'
        raise PanelError(asked, "both frames have a column of the same name", came, cure)
    rows = {name: _compare(frames[0][name].dropna(), frames[1][name].dropna(), name, asked) for name in shared}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("column")
    table.attrs[nm.SENTENCES] = [text for name in shared for text in _differences(name, rows[name])]
    return readable(table)


def _compare(one: pd.Series, other: pd.Series, name: str, asked: str) -> dict[str, object]:
    dates = one.index.intersection(other.index)
    if len(dates) < LEAST_DATES:
        came = f"{len(dates)} for {name!r}: {one.index[:1].append(other.index[:1]).astype(str).tolist()} are the first"
        cure = "fetch longer ranges, or read the dates of both anew: dayfirst= of read_series"
        raise PanelError(asked, f"sources share at least {LEAST_DATES} dates", came, cure)
    start, end = max(one.index[0], other.index[0]), min(one.index[-1], other.index[-1])
    inside = [held[(held.index >= start) & (held.index <= end)].index for held in (one, other)]
    a, b = one[dates].to_numpy(), other[dates].to_numpy()
    logs = bool((a > 0).all() and (b > 0).all())
    ratio = float(np.median(b / a)) if logs else np.nan
    gaps = np.abs(b / a / ratio - 1.0) if logs else np.abs(b - a)
    x, y = (np.diff(np.log(values) if logs else values) for values in (a, b))
    by_shift = {shift: _correlation(x, y, shift) for shift in range(-MOST_SHIFT, MOST_SHIFT + 1)}
    best = max(by_shift, key=lambda shift: (by_shift[shift], -abs(shift)))
    return {
        "dates": len(dates),
        "only_one": len(inside[0].difference(other.index)),
        "only_other": len(inside[1].difference(one.index)),
        "ratio": ratio,
        "largest_gap": float(gaps.max()),
        "gap_date": pd.Timestamp(dates[int(gaps.argmax())]),
        "shift": best,
        "correlation": by_shift[best],
        "correlation_same": by_shift[0],
    }


def _correlation(x: np.ndarray, y: np.ndarray, shift: int) -> float:
    """Correlation of x[t] with y[t + shift]."""
    one, two = (x[: len(x) - shift], y[shift:]) if shift >= 0 else (x[-shift:], y[: len(y) + shift])
    return float(np.corrcoef(one, two)[0, 1]) if one.std() > 0 and two.std() > 0 else np.nan


def _differences(name: str, row: dict[str, object]) -> list[str]:
    found = []
    if row["shift"]:
        late = "late" if int(str(row["shift"])) > 0 else "early"
        found.append(
            f"{name}: changes of the second source are {abs(int(str(row['shift'])))} dates {late}: correlation "
            f"{row['correlation']:.2f} so, {row['correlation_same']:.2f} on equal dates. A price stamped 00:00 is the "
            "close of the day before."
        )
    ratio, gap = float(str(row["ratio"])), float(str(row["largest_gap"]))
    if np.isfinite(ratio) and abs(ratio - 1.0) > LEVEL:
        found.append(f"{name}: the second source is {ratio:.4g} times the first, as with another unit or adjustment.")
    if np.isfinite(ratio) and gap > LARGEST_GAP:
        date = pd.Timestamp(str(row["gap_date"])).date()
        found.append(f"{name}: levels differ by {100 * gap:.0f} % on {date}, at most.")
    lone = (int(str(row["only_one"])), int(str(row["only_other"])))
    if max(lone) > int(str(row["dates"])) / LEAST_DATES:
        found.append(f"{name}: {lone[0]} dates are in the first source alone, and {lone[1]} in the second.")
    return found
