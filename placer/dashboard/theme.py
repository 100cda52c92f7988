"""Calm colours; all that they say is said by a word or a shape, too."""

from __future__ import annotations

from textual.theme import Theme

from placer.dashboard.figures import BAD, CALM, HELD, PLAIN, WARM

THEME = Theme(
    name="placer",
    primary=HELD,
    secondary=CALM,
    warning=WARM,
    error=BAD,
    success=CALM,
    accent=WARM,
    foreground=PLAIN,
    background="#14181d",
    surface="#1b2027",
    panel="#1b2027",
    dark=True,
)
