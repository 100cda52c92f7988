"""How the charts look: a colour a kind of part, on light pages and on dark ones."""

from __future__ import annotations

from typing import Final

#: The kind of a part that only takes room: free memory.
BLANK: Final = "left"
# Told apart by those who do not tell red from green, and on white as on near-black.
COLOURS: Final = {
    "weights": "#2f6fb3",
    "context": "#35a39a",
    "compute": "#dd9a2f",
    "use": "#a04c8c",
    "fits": "#35a37a",
    "oom": "#cf4a35",
    "asked": "#8d95a0",
    "predicted": "#9db8d6",
    "measured": "#2f6fb3",
    "answer": "#2f6fb3",
    "rival": "#8d95a0",
}
LIGHT: Final = {
    "page": "#ffffff",
    "ink": "#1f2328",
    "faint": "#59636e",
    "grid": "#e4e7eb",
    BLANK: "#e9ecf0",
}
DARK: Final = {
    "page": "#0d1117",
    "ink": "#e6edf3",
    "faint": "#9198a1",
    "grid": "#2a3037",
    BLANK: "#262c34",
}
FONT: Final = "system-ui,-apple-system,'Segoe UI','DejaVu Sans',Arial,sans-serif"


def _theme(colours: dict[str, str]) -> str:
    ink, faint = colours["ink"], colours["faint"]
    return (
        f".page{{fill:{colours['page']}}}"
        f"text{{fill:{ink}}}.scale,.note,.legend{{fill:{faint}}}"
        f".grid{{stroke:{colours['grid']}}}.mark,.span{{stroke:{ink}}}"
        f".{BLANK}{{fill:{colours[BLANK]}}}"
    )


STYLE: Final = (
    f"text{{font:12px {FONT}}}"
    ".title{font-size:15px;font-weight:600}.group{font-weight:600}"
    ".label{text-anchor:end}.scale{text-anchor:middle;font-size:11px}"
    ".note{font-size:11px}.grid{stroke-width:1}"
    ".mark{stroke-width:2}.span{stroke-width:1.4}"
    + "".join(f".{kind}{{fill:{colour}}}" for kind, colour in COLOURS.items())
    + _theme(LIGHT)
    + f"@media(prefers-color-scheme:dark){{{_theme(DARK)}}}"
)
