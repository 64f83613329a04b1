"""Servers on loopback that speak FRED's, Yahoo's and Stooq's protocols, with faults to order."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import quoteattr
from zoneinfo import ZoneInfo

KEY = "0123456789abcdef0123456789abcdef"
FIRST, LAST = "1776-07-04", "9999-12-31"
CHICAGO = ZoneInfo("America/Chicago")


class Server(ThreadingHTTPServer):
    """Counts requests, and answers the next ones with the faults in `faults`, one each.

    A fault is a status, (status, headers, body), "cut" (the connection ends in the middle of the body that the header
    promised), "cut short" (likewise, where no length was promised), "reset" (no answer), "slow", "late" (by 0.3 s),
    "dripping" (a body that comes a byte at a time), or "dripping header".
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[str] = []
        self.faults: list[object] = []
        self.released = threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, str]:
        raise NotImplementedError

    def handle_error(self, request, client_address):
        """Clients that hang up are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server: Server = self.server
        parts = urlsplit(self.path)
        with server.lock:
            server.seen.append(self.path)
            fault = server.faults.pop(0) if server.faults and server.faulty(parts.path) else None
        status, body = server.answer(parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()})
        headers = {}
        if isinstance(fault, int):
            status, body = fault, f"<html><body>{fault}</body></html>"
        elif isinstance(fault, tuple):
            status, headers, body = fault
        elif fault == "reset":
            return
        elif fault in ("slow", "late"):
            server.released.wait(5 if fault == "slow" else 0.3)
        elif fault in ("dripping", "dripping header"):
            self.drip(fault)
            return
        self.send(status, headers, body if isinstance(body, bytes) else body.encode(), fault)

    def drip(self, fault: str) -> None:
        """A byte in a while, for a minute, each soon enough for a timeout."""
        self.close_connection = True
        self.wfile.write(b"HTTP/1.0 200 OK\r\n" + (b"\r\n" if fault == "dripping" else b"Filler: "))
        for _ in range(2000):
            self.wfile.write(b"<")
            if self.server.released.wait(0.03):
                return

    def send(self, status: int, headers: dict[str, str], data: bytes, fault: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if fault != "cut short":
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if str(fault).startswith("cut") else data)

    def log_message(self, *args):
        """Say nothing."""


class Fred(Server):
    """FRED and ALFRED.

    `releases[identifier]` lists (date, published, value) as texts; a value holds until the next one of the same date is
    published.
    """

    most_vintages = 2000
    most_rows = 100_000

    def __init__(self) -> None:
        super().__init__()
        self.releases: dict[str, list[tuple[str, str, str]]] = {}

    def faulty(self, path: str) -> bool:
        return True

    def requests(self, kind: str) -> list[dict[str, str]]:
        parts = [urlsplit(path) for path in self.seen]
        return [{k: v[0] for k, v in parse_qs(p.query).items()} for p in parts if p.path.endswith(f"/{kind}")]

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, str]:
        if query.get("api_key") != KEY:
            why = "The value for variable api_key is not registered.  Read https://fred.stlouisfed.org/docs/api/api_key.html"
            return refuse(why)
        releases = self.releases.get(query["series_id"])
        if releases is None:
            return refuse("The series does not exist.")
        today = dt.datetime.now(CHICAGO).date().isoformat()
        everything = (FIRST, LAST) if path.endswith("vintagedates") else (today, today)
        start, end = query.get("realtime_start", everything[0]), query.get("realtime_end", everything[1])
        if start > today or today < end != LAST:
            return refuse("Variable realtime_end can not be after today's date unless it is 9999-12-31.")
        vintages = sorted({published for _, published, _ in releases})
        if path.endswith("/series/vintagedates"):
            dates = "".join(f"<vintage_date>{day}</vintage_date>" for day in vintages)
            return 200, f'<vintage_dates count="{len(vintages)}" limit="10000">{dates}</vintage_dates>'
        return self.observations(releases, vintages, start, end)

    def observations(self, releases, vintages, start, end) -> tuple[int, str]:
        inside = [day for day in vintages if start <= day <= end]
        if len(inside) > self.most_vintages:
            why = f"There are {len(inside)} vintage dates in the specified real-time period: {start} to {end}.  This "
            return refuse(f"{why}exceeds the maximum number of vintage dates allowed ({self.most_vintages}).")
        rows = []
        by_date: dict[str, list[tuple[str, str]]] = {}
        for date, published, value in sorted(releases):
            by_date.setdefault(date, []).append((published, value))
        for date, values in by_date.items():
            ends = [(dt.date.fromisoformat(day) - dt.timedelta(days=1)).isoformat() for day, _ in values[1:]]
            for (published, value), last in zip(values, [*ends, LAST], strict=True):
                if published <= end and last >= start:
                    # Real-time periods are cut to the one asked for.
                    rows.append((max(published, start), min(last, end), date, value))
        if not rows:
            return refuse("The series does not exist in ALFRED but may exist in FRED.")
        tags = "".join(
            f'<observation realtime_start="{a}" realtime_end="{b}" date="{date}" value="{value}"/>\n'
            for a, b, date, value in rows[: self.most_rows]
        )
        return (
            200,
            f'<?xml version="1.0"?>\n<observations count="{len(rows)}">\n{tags}</observations>',
        )


def refuse(why: str) -> tuple[int, str]:
    return 400, f'<error code="400" message={quoteattr("Bad Request.  " + why)}/>'


class Files(Server):
    """FRED's download of graphs and Stooq's of prices, as CSV.

    `series[name]` lists (date, value) as texts; prices have four equal columns before the volume.
    """

    def __init__(self) -> None:
        super().__init__()
        self.series: dict[str, list[tuple[str, str]]] = {}

    def faulty(self, path: str) -> bool:
        return True

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, str]:
        name = query.get("id", query.get("s", ""))
        if "id" in query:
            if name not in self.series:
                return 404, "<html><body>Not Found</body></html>"
            return 200, "\n".join([f"observation_date,{name}", *map(",".join, self.series[name])]) + "\n"
        if name not in self.series:
            return 200, "No data"
        rows = [f"{day},{value},{value},{value},{value},7" for day, value in self.series[name]]
        return 200, "\r\n".join(["Date,Open,High,Low,Close,Volume", *rows]) + "\r\n"


class Yahoo(Server):
    """Yahoo's chart service, for a client whose addresses have been turned to it: /host/path.

    `bars[symbol]` is (time zone, kind, [(local moment, close, adjusted close)]).
    """

    def __init__(self) -> None:
        super().__init__()
        self.bars: dict[str, tuple[str, str, list[tuple[str, float | None, float | None]]]] = {}

    def faulty(self, path: str) -> bool:
        return "/v8/finance/chart/" in path

    def charts(self) -> list[str]:
        return [path for path in self.seen if self.faulty(path)]

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, str]:
        if "/quoteSummary/" in path or "/v7/finance/quote" in path:
            return 404, json.dumps({"quoteSummary": {"result": None, "error": {"code": "Not Found"}}})
        if not self.faulty(path):
            return 200, "crumb" if path.endswith("getcrumb") else ""
        symbol = path.rsplit("/", 1)[1].replace("%3D", "=").replace("%5E", "^")
        if symbol not in self.bars:
            error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
            return 404, json.dumps({"chart": {"result": None, "error": error}})
        return 200, json.dumps({"chart": {"result": [self.chart(symbol, query)], "error": None}})

    def chart(self, symbol: str, query: dict[str, str]) -> dict[str, object]:
        zone, kind, bars = self.bars[symbol]
        stamps = [int(dt.datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp()) for day, *_ in bars]
        since, until = int(query.get("period1", 0)), int(query.get("period2", time.time()))
        held = [n for n, stamp in enumerate(stamps) if since <= stamp < until]
        closes, adjusted = ([bars[n][place] for n in held] for place in (1, 2))
        moment = stamps[-1]
        offset = int(dt.datetime.now(ZoneInfo(zone)).utcoffset().total_seconds())
        period = {"timezone": zone, "start": moment, "end": moment, "gmtoffset": offset}
        meta = {
            "currency": "USD",
            "symbol": symbol,
            "exchangeName": "LOOPBACK",
            "instrumentType": kind,
            "firstTradeDate": stamps[0],
            "regularMarketTime": moment,
            "gmtoffset": offset,
            "timezone": zone,
            "exchangeTimezoneName": zone,
            "regularMarketPrice": bars[-1][1],
            "priceHint": 2,
            "currentTradingPeriod": {"pre": period, "regular": period, "post": period},
            "dataGranularity": "1d",
            "range": "",
            "validRanges": ["1d", "5d", "max"],
        }
        quote = dict.fromkeys(("open", "high", "low", "close"), closes) | {"volume": [1] * len(held)}
        indicators = {"quote": [quote], "adjclose": [{"adjclose": adjusted}]}
        return {"meta": meta, "timestamp": [stamps[n] for n in held], "indicators": indicators}


def turned_session(target: str):
    """The session that yfinance would make, with every address turned to the target."""
    from curl_cffi.requests import Session

    class Turned(Session):
        def request(self, method, url, *args, **kwargs):
            return super().request(method, url.replace("https://", f"{target}/"), *args, **kwargs)

    return Turned()


@contextmanager
def running(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
