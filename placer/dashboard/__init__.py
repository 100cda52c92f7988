"""The terminal dashboard of a running server, and the menu before it.

Textual is imported when one of them opens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.app.menu import MenuEntry
    from placer.serve import StateFolder

__all__ = ["run_dashboard", "run_menu"]


def run_dashboard(profile: str, state: StateFolder) -> str:
    """Watch a server until the user leaves; the server itself is left alone.

    Args:
        profile: whose server; it may have ended.
        state: where it is on record.

    Returns:
        What is to become of it: ``"stop"``, ``"menu"`` (stop it and choose another)
        or ``"detach"``.

    Raises:
        InputError: none of that profile is on record.
    """
    from placer.dashboard.app import Dashboard
    from placer.dashboard.live import open_source

    source = open_source(profile, state)
    return Dashboard(source).run() or "detach"


def run_menu(entries: Sequence[MenuEntry]) -> str | None:
    """Let the user choose; the profile, or None where the menu is left."""
    from placer.dashboard.menu_app import Menu

    return Menu(entries).run()
