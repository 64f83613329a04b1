"""Make the pictures of docs/gallery.md by running the examples: ``python docs/gallery.py``, ten minutes.

Of a picture that is wider than the page a smaller copy is kept.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

ROOT = Path(__file__).parents[1]
WIDTH, COLOURS = 1050, 128
# Arguments of each example, and its picture.
EXAMPLES = {
    "shortest": ([], "shortest.png"),
    "btc_silver": ([], "out/btc_silver/report/figures/prices.png"),
    "silver_at_100": ([], "out/silver_at_100/silver_at_100.png"),
    "el_nino": ([], "out/el_nino/el_nino.png"),
    "panel_on_dask": ([], "out/panel_on_dask/panel_on_dask.png"),
    "hamilton": ([], "out/hamilton/hamilton.png"),
    "federal_funds": (["--chains", "4", "--draws", "500"], "out/federal_funds/federal_funds.png"),
}


def keep(picture: Path, name: str) -> None:
    """Store a copy of a picture for the site."""
    image = Image.open(picture).convert("RGB")
    image.thumbnail((WIDTH, 10 * WIDTH))
    target = ROOT / "docs" / "_static" / "gallery" / f"{name}.png"
    target.parent.mkdir(exist_ok=True)
    image.quantize(COLOURS).save(target, optimize=True)


def main() -> None:
    """Run all examples, or those that are named."""
    for name in sys.argv[1:] or EXAMPLES:
        arguments, picture = EXAMPLES[name]
        with TemporaryDirectory() as folder:
            script = ROOT / "examples" / f"{name}.py"
            subprocess.run([sys.executable, script, *arguments], cwd=folder, check=True)  # noqa: S603
            keep(Path(folder) / picture, name)


if __name__ == "__main__":
    main()
