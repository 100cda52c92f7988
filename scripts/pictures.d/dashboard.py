"""The dashboard as a picture: a server that is not there, on two cards of other sizes.

``scripts/pictures.d/dashboard.py [FOLDER]``, docs/pictures by default.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from placer.dashboard import scripted
from placer.dashboard.stage import staged

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
NAME = "dashboard.svg"
SIZE = (120, 36)
# Names of classes are others each time; fonts would be fetched from elsewhere.
OWN_ID = re.compile(r"terminal-\d+")
FONT = re.compile(r"\s*@font-face \{.*?\}|\s*<!--.*?-->", re.DOTALL)


async def picture() -> str:
    """The screen as an SVG, the same one each time."""
    async with staged(scripted.two_gpus(), SIZE) as (app, _):
        drawn = app.export_screenshot(title="placer serve glm-q8")
    return FONT.sub("", OWN_ID.sub("placer", drawn))


def main() -> None:
    """Write it, whole or not at all."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else PICTURES
    whole = folder / f"{NAME}.tmp"
    whole.write_text(asyncio.run(picture()), encoding="utf-8")
    whole.replace(folder / NAME)
    print(f"  {NAME}")


if __name__ == "__main__":
    main()
