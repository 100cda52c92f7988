"""What the menu lists."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuEntry:
    """One profile.

    Attributes:
        profile: its id, which is what choosing it gives.
        name: what its NAME says.
        description: what its DESCRIPTION says; may be empty.
        detail: what is known of it, in one line; may be empty.
    """

    profile: str
    name: str
    description: str = ""
    detail: str = ""

    def matches(self, typed: str) -> bool:
        """Whether every word that was typed is somewhere in it, in either case."""
        said = f"{self.profile} {self.name} {self.description} {self.detail}"
        return all(word in said.casefold() for word in typed.casefold().split())
