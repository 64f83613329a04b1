"""Check the links and figures of the built site: ``python docs/links.py docs/_build/html``.

Every local address must lead to a file of the site, and to an anchor of it where it names one; no page may load
anything from elsewhere; addresses elsewhere must be well formed, and a DOI must look like one. Whether an address
elsewhere answers is not checked: ``sphinx-build -b linkcheck`` does that, and needs the network. Code that draws a
figure must be followed by it.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

DOI = re.compile(r"^/10\.\d{4,9}/\S+$")
# An executed cell of a page, up to the next one or the end, and in it the name of a function that draws.
CELL, DRAWS = 'class="cell docutils', re.compile(r">plot_\w+<")
# What a browser fetches by itself, as opposed to what a reader may click.
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}


class Page(HTMLParser):
    """The anchors of a page, what it loads, and where it leads."""

    def __init__(self, path: Path) -> None:
        """Read a page."""
        super().__init__()
        self.anchors: set[str] = set()
        self.loads: list[str] = []
        self.leads: list[str] = []
        text = path.read_text(encoding="utf-8")
        self.without_figure = [
            name.group().strip("<>")
            for cell in text.split(CELL)[1:]
            if (name := DRAWS.search(cell.partition("</pre>")[0])) and "<img" not in cell
        ]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note ids, names of anchors, and addresses."""
        held = {name: value or "" for name, value in attrs}
        self.anchors |= {held[name] for name in ("id", "name") if name in held}
        if tag == "a" and "href" in held:
            self.leads.append(held["href"])
        elif tag in LOADED and LOADED[tag] in held and held.get("rel") not in ("canonical", "index", "search"):
            self.loads.append(held[LOADED[tag]])


def faults(site: Path) -> list[str]:
    """Say what is wrong with the links of a site."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        said = path.relative_to(site)
        found += [f"{said}: no figure behind {name}" for name in page.without_figure]
        found += [f"{said}: loads {each} from elsewhere" for each in page.loads if urlsplit(each).netloc]
        found += [f"{said}: {fault}" for each in {*page.leads, *page.loads} if (fault := _fault(path, each, pages))]
    return found if pages else [f"{site}: no pages; build the site first"]


def _fault(path: Path, address: str, pages: dict[Path, Page]) -> str:
    """What is wrong with one address on a page; nothing if it leads somewhere."""
    parts = urlsplit(address)
    if parts.scheme == "data":
        return ""
    if parts.scheme or parts.netloc:
        if parts.scheme not in ("http", "https") or "." not in parts.netloc:
            return f"{address} is no address"
        return "" if parts.netloc != "doi.org" or DOI.match(unquote(parts.path)) else f"{address} is no DOI"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return f"{address} leads to no file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return f"{address} leads to no place on its page"
    return ""


if __name__ == "__main__":
    wrong = faults(Path(sys.argv[1]).resolve())
    print(*wrong, sep="\n")
    sys.exit(bool(wrong))
