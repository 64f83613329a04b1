"""Command line: ``python -m regimelag report fit.nc [folder]`` writes the report of a saved fit."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from regimelag.errors import RegimelagError
from regimelag.reporting.page import report


def main(arguments: list[str] | None = None) -> int:
    """Write a report and print the path of its page; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m regimelag", description="Work with fits of regimelag.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("report", help="write the report of a fit: a page, figures and tables")
    one.add_argument("fit", help="a file written by save_fit")
    one.add_argument("folder", nargs="?", help="folder to write (the file's name with _report)")
    one.add_argument("--overwrite", action="store_true", help="replace a report that is in the folder")
    given = parser.parse_args(arguments)
    file = Path(given.fit)
    try:
        page = report(file, given.folder or file.with_name(f"{file.stem}_report"), overwrite=given.overwrite)
    except RegimelagError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{page}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
