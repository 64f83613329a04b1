"""fetch_fred and fetch_vintages: the real fredapi client against a server on loopback that speaks FRED's protocol."""

from __future__ import annotations

import email.utils
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings

import fredapi
import numpy as np
import pandas as pd
import pytest
from loopback import KEY, Fred, running

import regimelag as rl
from regimelag.fetch import cache as store
from regimelag.fetch import fred, fred_client, retry

DAYS = [f"2024-01-{day:02d}" for day in range(2, 13)]


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No key, no proxy and no cache of the user's."""
    for name in ("FRED_API_KEY", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


@pytest.fixture
def waits(monkeypatch):
    """The waits between tries, which take no time here."""
    taken = []
    monkeypatch.setattr(retry, "pause", taken.append)
    return taken


@pytest.fixture
def server(monkeypatch):
    with running(Fred()) as server:
        monkeypatch.setattr(fredapi.Fred, "root_url", f"{server.url}/fred")
        server.releases["DFII10"] = [(day, day, f"{1 + n / 10:.2f}") for n, day in enumerate(DAYS)]
        server.releases["VIXCLS"] = [("2024-01-02", "2024-01-03", "13.20"), ("2024-01-03", "2024-01-04", ".")]
        yield server


def fetch(folder, columns=("real_yield_10y",), **more):
    return rl.fetch_fred(columns, **({"api_key": KEY, "cache": folder, "timeout": 5.0} | more))


# What comes back.


def test_columns_by_name_and_by_identifier_side_by_side(server, tmp_path):
    frame = fetch(tmp_path, ["real_yield_10y", "VIXCLS"])
    assert list(frame.columns) == ["real_yield_10y", "VIXCLS"]
    assert frame.index.name == "date"
    assert [str(day.date()) for day in frame.index] == DAYS
    np.testing.assert_array_equal(frame["real_yield_10y"], [1 + n / 10 for n in range(11)])
    assert fetch(tmp_path, {"fear": "VIXCLS"})["fear"].tolist() == [13.2]


def test_a_dot_is_a_missing_value(server, tmp_path):
    frame = fetch(tmp_path, ["real_yield_10y", "vix"])
    assert frame["vix"].isna().tolist() == [False, *[True] * 10]


def test_the_frame_is_one_that_a_panel_takes(server, tmp_path):
    frame = fetch(tmp_path, ["real_yield_10y", "vix"])
    written = tmp_path / "frame.csv"
    frame.to_csv(written)
    pd.testing.assert_frame_equal(rl.read_series(written), frame, check_exact=True)


def test_every_column_of_the_named_models_can_be_fetched_from_somewhere():
    columns = {
        column
        for path in (store.Path(rl.__file__).parents[2] / "models").glob("*.toml")
        for spec in [rl.read_spec(path)]
        for part in (*spec.responses, *spec.signals, *spec.drivers, *spec.controls)
        for column in part.columns
    }
    assert columns <= set(fred.SERIES) | set(fred.MARKET)


def test_every_series_has_a_publication_delay_that_notes_and_origin_state(server, tmp_path):
    assert set(fred.DELAYS) == set(fred.SERIES.values())
    server.releases["WALCL"] = [("2024-01-03", "2024-01-04", "7681024"), ("2024-01-10", "2024-01-11", "7686771")]
    server.releases["M2SL"] = [("2023-11-01", "2023-12-26", "20767.3"), ("2023-12-01", "2024-01-23", "20865.2")]
    server.releases["WM2NS"] = [("2024-01-01", "2024-02-27", "20908.7")]
    frame = fetch(tmp_path, ["fed_assets_mn", "m2_sa_bn", "m2_nsa_bn", "DFII10"])
    assert frame["fed_assets_mn"].dropna().tolist() == [7681024.0, 7686771.0]
    notes = " ".join(frame.attrs["notes"])
    delays = {"fed_assets_mn": "2D", "m2_sa_bn": "58D", "m2_nsa_bn": "57D", "DFII10": "1B"}
    assert {column: about["delay"] for column, about in frame.attrs["origin"].items()} == delays
    assert 'Its delay in a spec is "2D": as of Wednesday, published on Thursday at 16:30 in New York' in notes
    # What FRED published is known with the delay, on the day and not before.
    for column, identifier in (("fed_assets_mn", "WALCL"), ("m2_sa_bn", "M2SL"), ("m2_nsa_bn", "WM2NS")):
        for date, published, _ in server.releases[identifier]:
            assert pd.Timestamp(date) + pd.tseries.frequencies.to_offset(delays[column]) >= pd.Timestamp(published)
    server.releases["UNRATE"] = [("2024-01-01", "2024-02-02", "3.7")]
    other = fetch(tmp_path, ["UNRATE"])
    assert other.attrs["origin"]["UNRATE"]["delay"] is None
    assert "Its delay" not in " ".join(other.attrs["notes"])


def test_delays_of_money_reach_the_fourth_tuesday_of_the_next_month_and_no_further():
    def late(day):
        return (
            pd.date_range(day + pd.offsets.MonthBegin(), periods=31)
            .to_series()
            .loc[lambda d: d.dt.day_of_week == 1]
            .iloc[3]
        )

    for identifier, dates in (
        ("WM2NS", pd.date_range("2021-01-04", "2032-12-31", freq="W-MON")),
        ("M2SL", pd.date_range("2021-01-01", "2032-12-31", freq="MS")),
    ):
        delay = pd.Timedelta(fred.DELAYS[identifier][0])
        assert max(late(day) - day for day in dates) == delay


def test_drivers_of_the_bundled_models_have_the_delay_of_their_series():
    for path in (store.Path(rl.__file__).parents[2] / "models").glob("*.toml"):
        for driver in rl.read_spec(path).drivers:
            for column in driver.columns:
                assert driver.delay == fred.DELAYS.get(fred.SERIES.get(column), ("0D", ""))[0], (path.stem, column)


def test_bitcoin_says_that_it_begins_after_the_flagships_window(server, tmp_path):
    server.releases["CBBTCUSD"] = [("2014-12-01", "2018-06-01", "370.00"), ("2014-12-02", "2018-06-01", "378.00")]
    with pytest.warns(UserWarning, match=r"Coinbase's price and begins on 2014-12-01: .* 2013-01-01"):
        frame = fetch(tmp_path, ["btc_usd"])
    assert "begins on 2014-12-01" in " ".join(frame.attrs["notes"])


@pytest.mark.parametrize(
    ("columns", "part"),
    [
        ([], "choose from"),
        (["silver_usd"], "fetch_market"),
        (["real_yield_10"], "write 'real_yield_10y'"),
        (["dfii10"], "choose from"),
        (["DFII10&file_type=json"], "source's own name"),
        ({"x": "no such"}, "source's own name"),
    ],
)
def test_columns_that_cannot_be(server, tmp_path, columns, part):
    with pytest.raises(rl.errors.FetchError, match="cure:") as caught:
        rl.fetch_fred(columns, api_key=KEY, cache=tmp_path)
    assert part in caught.value.cure
    assert not server.seen


# The key.


def test_the_key_comes_from_argument_file_or_environment(server, tmp_path, monkeypatch):
    with pytest.raises(rl.errors.FetchError, match="FRED_API_KEY is not set"):
        fetch(tmp_path / "none", api_key=None, as_of="2024-01-05")
    file = tmp_path / "key.txt"
    file.write_text(f"\ufeff{KEY}\nsecond line\n")
    fetch(tmp_path / "file", api_key=None, api_key_file=file)
    monkeypatch.setenv("FRED_API_KEY", KEY)
    fetch(tmp_path / "environment", api_key=None)
    assert [request["api_key"] for request in server.requests("observations")] == [KEY, KEY]
    with pytest.raises(rl.errors.FetchError, match="no file"):
        fetch(tmp_path / "absent", api_key=None, api_key_file=tmp_path / "absent.txt")


@pytest.mark.parametrize("key", ["", "short", KEY.upper(), KEY + "&x=1", "\u00e4" * 32])
def test_what_is_no_key_is_not_sent(server, tmp_path, key):
    with pytest.raises(rl.errors.FetchError, match="32 lower-case") as caught:
        fetch(tmp_path, api_key=key)
    assert not key or key not in str(caught.value)
    assert not server.seen


def chain(problem: BaseException | None) -> list[BaseException]:
    seen = []
    while problem is not None and problem not in seen:
        seen.append(problem)
        problem = problem.__cause__ or problem.__context__
    return seen


SECRET = "feedfacefeedfacefeedfacefeedface"
FAULTS = {
    "bad key": ([], SECRET),
    "a message with the key": ([(400, {}, f'<error code="400" message="No {SECRET}"/>')], SECRET),
    "rate": ([429] * 5, KEY),
    "html": ([(200, {}, f"<html>{KEY}")] * 5, KEY),
    "cut": (["cut"] * 5, KEY),
    "reset": (["reset"] * 5, KEY),
    "slow": (["slow"] * 5, KEY),
    "redirect": ([(302, {"Location": f"ftp://127.0.0.1/?api_key={KEY}"}, "")] * 5, KEY),
    "redirect nowhere": ([(302, {"Location": f"http://[::1?api_key={KEY}"}, "")] * 5, KEY),
}


@pytest.mark.parametrize("case", FAULTS)
def test_the_key_is_in_no_error_log_or_file(server, tmp_path, waits, caplog, capsys, case):
    server.faults, key = FAULTS[case][0].copy(), FAULTS[case][1]
    with caplog.at_level(logging.DEBUG), pytest.raises(rl.errors.FetchError) as caught:
        fetch(tmp_path, api_key=key, timeout=0.1 if case == "slow" else 5.0)
    server.released.set()
    for problem in chain(caught.value):
        said = [
            str(problem),
            repr(problem),
            repr(problem.args),
            repr(vars(problem)),
            "".join(traceback.format_exception(problem)),
        ]
        assert not any(key in text for text in said)
    assert len(chain(caught.value)) == 1
    assert key not in caplog.text + "".join(capsys.readouterr())
    server.faults.clear()
    fetch(tmp_path)
    assert not any(KEY.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


# Faults.


PASSING = {
    "429": [429],
    "429 with a message": [(429, {}, '<error code="429" message="Too Many Requests.  Exceeded Rate Limit"/>')],
    "500 and 503": [500, (503, {}, "")],
    "cut in the middle": ["cut"],
    "cut where no length was promised": ["cut short"],
    "no answer": ["reset"],
    "slow": ["slow"],
    "a portal's page": [(200, {}, "<html><p>log in")],
}


@pytest.mark.parametrize("case", PASSING)
def test_a_fault_that_passes_is_waited_out(server, tmp_path, waits, case):
    server.faults = PASSING[case].copy()
    frame = fetch(tmp_path, timeout=1.0 if case == "slow" else 5.0)
    assert len(frame) == len(DAYS)
    assert len(waits) == len(PASSING[case]) == len(server.seen) - 1


@pytest.mark.parametrize("case", PASSING)
def test_a_fault_that_stays_is_an_error_and_leaves_the_cache(server, tmp_path, waits, case):
    before = fetch(tmp_path)
    kept = {file: file.read_bytes() for file in tmp_path.glob("*.csv")}
    server.faults = PASSING[case][:1] * 5
    with pytest.raises(rl.errors.FetchError, match="after 5 tries") as caught:
        fetch(tmp_path, max_age="0D", timeout=0.1 if case == "slow" else 5.0)
    assert "series DFII10" in caught.value.asked
    assert len(waits) == 4
    assert {file: file.read_bytes() for file in tmp_path.glob("*.csv")} == kept
    assert not list(tmp_path.glob("*.part"))
    pd.testing.assert_frame_equal(fetch(tmp_path), before)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["dripping", "dripping header"])
def test_an_answer_that_comes_a_byte_at_a_time_is_not_waited_for(server, tmp_path, waits, monkeypatch, fault):
    """Each byte is soon enough for the timeout: the server would go on for a minute."""
    monkeypatch.setattr(fred_client, "WHOLE", 1.0)
    server.faults = [fault] * 5
    start = time.monotonic()
    with pytest.raises(rl.errors.FetchError, match=r"no whole answer within|too slowly") as caught:
        fetch(tmp_path, timeout=0.5)
    assert time.monotonic() - start < 50
    assert "after 5 tries" in caught.value.came
    server.released.set()
    # Of the key as of any other fault.
    assert KEY not in str(caught.value)
    assert len(chain(caught.value)) == 1
    server.faults.clear()
    assert len(fetch(tmp_path)) == len(DAYS)


def test_an_answer_that_is_too_large_is_not_read(server, tmp_path, waits, monkeypatch):
    monkeypatch.setattr(fred_client, "LARGEST", 2**20)
    server.faults = [(200, {}, f"<observations>{' ' * 2**21}</observations>")] * 5
    with pytest.raises(rl.errors.FetchError, match="an answer of more than 1 MB"):
        fetch(tmp_path)


def test_all_answers_about_a_series_have_a_time(server, tmp_path, waits, monkeypatch):
    monkeypatch.setattr(fred_client, "LONGEST", 0.2)
    server.releases["DFF"] = daily(4300)
    server.faults = ["late"] * 10
    with pytest.raises(rl.errors.FetchError, match="FRED's answers take 0 s at most") as caught:
        vintages(tmp_path, ["fed_funds"])
    assert "fetch_fred with as_of" in caught.value.cure
    server.faults.clear()
    monkeypatch.undo()
    monkeypatch.setattr(fredapi.Fred, "root_url", f"{server.url}/fred")
    assert len(vintages(tmp_path, ["fed_funds"])) == 4300


def test_vintages_that_never_fit_end_at_a_day(server, tmp_path, waits, monkeypatch):
    """Every page is full, however short its period."""
    monkeypatch.setattr(fred, "MOST_ROWS", 5000)
    # Which takes a time that grows with the square of the rows.
    monkeypatch.setattr(fredapi.Fred, "get_series_all_releases", lambda *_: pytest.fail("slow with many rows"))
    row = '<observation realtime_start="1950-01-02" realtime_end="9999-12-31" date="1950-01-01" value="1"/>'
    full = (200, {}, f"<observations>{row * fred.MOST_ROWS}</observations>")
    server.faults = [(200, {}, "<vintage_dates><vintage_date>1950-01-02</vintage_date></vintage_dates>")]
    server.faults += [full] * 100
    with pytest.raises(rl.errors.FetchError, match="as many on 1950-01-02 alone"):
        vintages(tmp_path)


def test_a_download_takes_less_than_others_wait_for_it():
    assert fred_client.LONGEST < store.LONGEST_LOCK


def test_the_key_is_not_sent_to_another_server(server, tmp_path, waits):
    with running(Fred()) as other:
        other.releases = server.releases
        elsewhere = f"{other.url}/fred/series/observations?series_id=DFII10&api_key={KEY}"
        server.faults = [(302, {"Location": elsewhere}, "")] * 5
        with pytest.raises(rl.errors.FetchError, match="HTTP 302, a redirect to another server"):
            fetch(tmp_path)
        assert not other.seen
    here = f"{server.url}/fred/series/observations?series_id=DFII10&api_key={KEY}"
    server.faults = [(302, {"Location": here}, "")]
    assert len(fetch(tmp_path)) == len(DAYS)


def observation(date="2024-01-02", value="1.0"):
    return f'<observations><observation realtime_start="2024-01-03" date="{date}" value="{value}"/></observations>'


STRANGE = {
    "a word": observation(value="abc"),
    "nothing": observation(value=""),
    "infinite": observation(value="inf"),
    "too large": observation(value="1e400"),
    "no such day": observation(date="2024-13-45"),
    "no date": observation(date=""),
    "no value": '<observations><observation date="2024-01-02"/></observations>',
    "no attributes": "<observations><observation/></observations>",
}


@pytest.mark.parametrize("case", STRANGE)
def test_an_answer_of_no_dates_and_numbers_is_an_error_and_is_not_kept(server, tmp_path, waits, case):
    server.faults = [(200, {}, STRANGE[case])]
    with pytest.raises(rl.errors.FetchError, match="dates and finite numbers"):
        fetch(tmp_path)
    server.faults = [(200, {}, "<vintage_dates><vintage_date>2024-01-03</vintage_date></vintage_dates>")]
    server.faults += [(200, {}, STRANGE[case])]
    with pytest.raises(rl.errors.FetchError, match="dates and finite numbers"):
        vintages(tmp_path)
    assert not list(tmp_path.glob("*.csv"))
    assert not waits


PAGES = {
    "a page that is well-formed": "<html><body>down for maintenance</body></html>",
    "an unknown encoding": '<?xml version="1.0" encoding="utf-99"?><observations/>',
}


@pytest.mark.parametrize("case", PAGES)
def test_a_page_that_is_no_table_is_tried_again(server, tmp_path, waits, case):
    server.faults = [(200, {}, PAGES[case])] * 2
    assert len(fetch(tmp_path)) == len(DAYS)
    assert len(waits) == 2


def test_an_error_that_calls_itself_a_success_is_one(server, tmp_path, waits):
    server.faults = [(200, {}, '<error code="400" message="Bad Request.  The series does not exist."/>')]
    with pytest.raises(rl.errors.FetchError, match="series does not exist"):
        fetch(tmp_path)


@pytest.mark.parametrize("header", ["\u00b2", "Mon, 99999999999999999999 Jan 2024 00:00:00 GMT", "", "-1", "1e9"])
def test_a_strange_retry_after_is_as_none(header):
    assert retry.seconds_to_wait(header) is None


def test_waits_double_and_retry_after_is_taken_at_its_word(server, tmp_path, waits):
    server.faults = [429, 500, 429]
    fetch(tmp_path)
    for n, wait in enumerate(waits):
        assert 2**n <= wait <= 1.25 * 2**n
    waits.clear()
    soon = email.utils.format_datetime((pd.Timestamp.now("UTC") + pd.Timedelta(seconds=40)).to_pydatetime())
    server.faults = [
        (429, {"Retry-After": "7"}, ""),
        (503, {"Retry-After": soon}, ""),
        (429, {"Retry-After": "soon"}, ""),
    ]
    fetch(tmp_path, max_age="0D")
    assert waits[0] == 7
    assert 30 < waits[1] <= 40
    assert waits[2] >= 4
    server.faults = [(429, {"Retry-After": "3600"}, "")]
    with pytest.raises(rl.errors.FetchError, match="asks to wait 3600 s, after 1 try"):
        fetch(tmp_path, max_age="0D")


def test_a_refusal_is_not_tried_again(server, tmp_path, waits):
    with pytest.raises(rl.errors.FetchError, match="api_key is not registered") as caught:
        fetch(tmp_path, api_key=SECRET)
    assert "check the key" in caught.value.cure
    with pytest.raises(rl.errors.FetchError, match="series does not exist") as caught:
        fetch(tmp_path, ["NOSUCH"])
    assert "check the identifier" in caught.value.cure
    assert not waits
    assert len(server.seen) == 2
    assert not list(tmp_path.glob("*.csv"))


def test_no_server_at_all(server, tmp_path, waits, monkeypatch):
    monkeypatch.setattr(fredapi.Fred, "root_url", "http://127.0.0.1:9/fred")
    with pytest.raises(rl.errors.FetchError, match="refused"):
        fetch(tmp_path)


# The cache.


def test_the_second_run_needs_no_network_and_no_key(server, tmp_path, caplog):
    first = fetch(tmp_path, ["real_yield_10y", "vix"])
    server.faults = [500] * 100
    with caplog.at_level(logging.INFO, logger="regimelag"):
        second = fetch(tmp_path, ["real_yield_10y", "vix"], api_key=None)
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert len(server.seen) == 2
    assert [first.attrs["origin"]["vix"]["cached"], second.attrs["origin"]["vix"]["cached"]] == [False, True]
    assert all("comes from the cache" in note and "hours ago" in note for note in second.attrs["notes"])
    assert "hours ago" in caplog.text


def age(path, days):
    """Make a cached file older."""
    first, _, body = path.read_bytes().partition(b"\n")
    head = json.loads(first[1:])
    head["fetched"] = (pd.Timestamp(head["fetched"]) - pd.Timedelta(days=days)).isoformat()
    path.write_bytes(f"# {json.dumps(head)}\n".encode() + body)


def test_an_old_cache_says_so_and_max_age_fetches_anew(server, tmp_path):
    fetch(tmp_path)
    age(tmp_path / "fred-DFII10.csv", 10)
    with pytest.warns(UserWarning, match=r"10 days ago\. Give max_age"):
        frame = fetch(tmp_path)
    assert frame.attrs["origin"]["real_yield_10y"]["age_days"] == pytest.approx(10, abs=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = fetch(tmp_path, max_age=pd.Timedelta(days=9))
    assert not frame.attrs["origin"]["real_yield_10y"]["cached"]
    assert len(server.seen) == 2


def test_a_table_of_the_future_is_not_young(server, tmp_path):
    """A clock that was wrong once."""
    fetch(tmp_path)
    age(tmp_path / "fred-DFII10.csv", -30)
    assert not fetch(tmp_path, max_age="7D").attrs["origin"]["real_yield_10y"]["cached"]
    assert len(server.seen) == 2


@pytest.mark.parametrize("bad", ["soon", "-1D", -1, [], "NaT"])
def test_max_age_that_is_none(tmp_path, bad):
    with pytest.raises(rl.errors.FetchError, match="max_age"):
        fetch(tmp_path, max_age=bad)


@pytest.mark.parametrize("bad", [0, -1.0, float("inf"), float("nan"), "30", None, True])
def test_timeout_that_is_none(tmp_path, bad):
    for ask in (rl.fetch_fred, rl.fetch_vintages, rl.fetch_market):
        with pytest.raises(rl.errors.FetchError, match="timeout"):
            ask(["btc_usd"], cache=tmp_path, timeout=bad)


DAMAGE = {
    "emptied": lambda data: b"",
    "cut": lambda data: data[:-20],
    "edited": lambda data: data.replace(b"1.5", b"9.5"),
    "another format": lambda data: data.replace(b'"format": 1', b'"format": 2'),
    "binary": lambda data: bytes(range(256)),
    "no object": lambda data: b"# 1\n" + data,
}


@pytest.mark.parametrize("case", DAMAGE)
@pytest.mark.filterwarnings("default")
def test_a_damaged_cache_is_noticed_and_mended(server, tmp_path, case):
    whole = fetch(tmp_path)
    path = tmp_path / "fred-DFII10.csv"
    path.write_bytes(DAMAGE[case](path.read_bytes()))
    with pytest.warns(UserWarning, match="damaged"):
        mended = fetch(tmp_path)
    pd.testing.assert_frame_equal(mended, whole, check_exact=True)
    assert fetch(tmp_path).attrs["origin"]["real_yield_10y"]["cached"]


def test_a_write_that_fails_leaves_the_cache(server, tmp_path, monkeypatch):
    fetch(tmp_path)
    kept = (tmp_path / "fred-DFII10.csv").read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(rl.errors.FetchError, match="No space left") as caught:
        fetch(tmp_path, max_age="0D")
    assert "cache =" in caught.value.cure
    assert (tmp_path / "fred-DFII10.csv").read_bytes() == kept
    assert not list(tmp_path.glob(".*.part"))


def test_a_cache_that_is_a_file_is_an_error(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(rl.errors.FetchError, match="cache in"):
        fetch(tmp_path / "file")


def test_the_cache_lives_in_the_users_folder_by_default(server, tmp_path):
    rl.fetch_fred("vix", api_key=KEY)
    assert (tmp_path / "home" / "regimelag" / "fred-VIXCLS.csv").is_file()


def worker(url, folder, rounds, max_age, results, barrier):
    fredapi.Fred.root_url = f"{url}/fred"
    retry.pause = lambda seconds: None
    barrier.wait(60)
    frames = [fetch(folder, ["real_yield_10y", "vix"], max_age=max_age) for _ in range(rounds)]
    results.put([float(frame.sum().sum()) for frame in frames])


def together(server, folder, count, rounds, max_age):
    context = multiprocessing.get_context("spawn")
    results, barrier = context.Queue(), context.Barrier(count)
    processes = [
        context.Process(target=worker, args=(server.url, folder, rounds, max_age, results, barrier))
        for _ in range(count)
    ]
    for process in processes:
        process.start()
    sums = [total for _ in processes for total in results.get(timeout=600)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    return sums


@pytest.mark.slow
@pytest.mark.filterwarnings("error:.*damaged")
def test_processes_share_one_cache(server, tmp_path):
    whole = float(sum(1 + n / 10 for n in range(11)) + 13.2)
    server.faults = ["late"] * 2
    assert together(server, tmp_path, 2, 3, None) == pytest.approx([whole] * 6)
    # What both wanted was fetched once.
    assert len(server.requests("observations")) == 2
    assert together(server, tmp_path, 2, 20, "0D") == pytest.approx([whole] * 40)
    assert len(server.requests("observations")) == 2 + 80
    assert store.read(tmp_path / "fred-DFII10.csv") is not None


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_cache_and_lock_usable(server, tmp_path):
    fetch(tmp_path)
    kept = (tmp_path / "fred-DFII10.csv").read_bytes()
    server.faults = ["slow"]
    code = (
        "import fredapi, regimelag as rl\n"
        f"fredapi.Fred.root_url = {server.url + '/fred'!r}\n"
        f"rl.fetch_fred('real_yield_10y', api_key={KEY!r}, cache={str(tmp_path)!r}, max_age='0D')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 600
    while len(server.seen) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.released.set()
    assert (tmp_path / "fred-DFII10.csv").read_bytes() == kept
    assert not fetch(tmp_path, max_age="0D").attrs["origin"]["real_yield_10y"]["cached"]


# What was known then.


REVISED = [
    ("2024-02-01", "2024-02-05", "100.0"),
    ("2024-02-02", "2024-02-05", "101.0"),
    ("2024-02-09", "2024-02-12", "102.0"),
    ("2024-02-01", "2024-03-04", "99.0"),
    ("2024-02-02", "2024-03-04", "."),
    ("2024-03-01", "2024-03-04", "105.0"),
]


def test_as_of_gives_one_value_a_date_as_known_then(server, tmp_path):
    server.releases["DTWEXBGS"] = REVISED
    then = fetch(tmp_path, ["dollar_index"], as_of="2024-03-01")
    assert then["dollar_index"].to_dict() == {
        pd.Timestamp("2024-02-01"): 100.0,
        pd.Timestamp("2024-02-02"): 101.0,
        pd.Timestamp("2024-02-09"): 102.0,
    }
    now = fetch(tmp_path, ["dollar_index"])
    assert now["dollar_index"].tolist() == [99.0, 102.0, 105.0]
    assert "known on 2024-03-01" in then.attrs["notes"][0]
    again = fetch(tmp_path, ["dollar_index"], as_of=pd.Timestamp("2024-03-01"), api_key=None)
    pd.testing.assert_frame_equal(again, then)
    # fredapi's own way gives a row for each vintage.
    client = fredapi.Fred(api_key=KEY)
    assert client.get_series_as_of_date("DTWEXBGS", "2024-03-05")["date"].duplicated().any()


def test_as_of_before_the_first_vintage_says_so(server, tmp_path):
    server.releases["DTWEXBGS"] = REVISED
    with pytest.raises(rl.errors.FetchError, match="ALFRED") as caught:
        fetch(tmp_path, ["dollar_index"], as_of="2024-02-01")
    assert "fetch_vintages" in caught.value.cure


@pytest.mark.parametrize("bad", ["someday", 20240301, "2999-01-01", pd.Timestamp("2024-03-01", tz="UTC")])
def test_as_of_that_is_no_day_in_the_past(server, tmp_path, bad):
    with pytest.raises(rl.errors.FetchError, match="as_of is a day before today"):
        fetch(tmp_path, as_of=bad)
    assert not server.seen


def vintages(folder, columns=("dollar_index",)):
    return rl.fetch_vintages(list(columns), api_key=KEY, cache=folder, timeout=30.0)


def triples(tidy):
    """Date, published and value as texts."""
    days = (tidy[name].dt.strftime("%Y-%m-%d") for name in ("date", "published"))
    return list(zip(*days, ["." if np.isnan(value) else str(value) for value in tidy["value"]], strict=True))


def test_vintages_hold_every_value_and_its_day(server, tmp_path):
    server.releases["DTWEXBGS"] = REVISED
    tidy = vintages(tmp_path)
    assert list(tidy.columns) == ["column", "date", "published", "value"]
    held = [
        (str(d.date()), str(p.date()), "." if np.isnan(v) else str(v)) for _, d, p, v in tidy.itertuples(index=False)
    ]
    assert held == sorted(REVISED)
    assert "begin on 2024-02-05" in tidy.attrs["notes"][0]
    server.faults = [500] * 10
    pd.testing.assert_frame_equal(rl.fetch_vintages("dollar_index", cache=tmp_path), tidy)


def daily(count, revised=()):
    """A daily series, each value published the next day, some of them again after a year."""
    days = pd.date_range("2012-01-01", periods=count)
    first = [(f"{day:%Y-%m-%d}", f"{day + pd.Timedelta(days=1):%Y-%m-%d}", f"{n % 97}") for n, day in enumerate(days)]
    later = [(first[n][0], f"{days[n] + pd.Timedelta(days=365):%Y-%m-%d}", f"{first[n][2]}.5") for n in revised]
    return first + later


def test_more_than_two_thousand_vintages_come_in_pages(server, tmp_path):
    server.releases["DFF"] = daily(4300, revised=range(0, 3900, 50))
    with pytest.raises(ValueError, match="exceeds the maximum number of vintage dates"):
        fredapi.Fred(api_key=KEY).get_series_all_releases("DFF")
    tidy = vintages(tmp_path, ["fed_funds"])
    held = list(
        zip(tidy["date"].dt.strftime("%Y-%m-%d"), tidy["published"].dt.strftime("%Y-%m-%d"), tidy["value"], strict=True)
    )
    # No repeats where pages meet, and the revisions there are not lost.
    assert held == sorted((date, published, float(value)) for date, published, value in server.releases["DFF"])
    assert {str(kind) for kind in tidy.dtypes[["value"]]} == {"float64"}


def test_a_page_that_fred_cuts_off_is_asked_for_in_halves(server, tmp_path, monkeypatch):
    server.releases["DFF"] = daily(400)
    server.most_rows = 300
    monkeypatch.setattr(fred, "MOST_ROWS", 300)
    with pytest.raises(rl.errors.FetchError, match="at most 300 rows"):
        vintages(tmp_path, ["fed_funds"])
    server.releases["DFF"] = daily(250, revised=range(0, 250, 2))
    tidy = vintages(tmp_path, ["fed_funds"])
    assert len(tidy) == 375


def test_an_answer_without_observations(server, tmp_path):
    server.faults = [(200, {}, "<observations/>")]
    with pytest.raises(rl.errors.FetchError, match="came: none"):
        fetch(tmp_path)
    server.faults = [(200, {}, "<vintage_dates/>")]
    with pytest.raises(rl.errors.FetchError, match="came: none"):
        vintages(tmp_path, ["vix"])
