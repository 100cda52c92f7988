"""Who is measured: a name, and how llama-server is launched."""

from __future__ import annotations

from dataclasses import dataclass

from placer.units import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A launch to be measured.

    Attributes:
        name: what it is called in the answer.
        args: its flags; those of a placement among them, unless ``--fit`` is to find
            one.
        fit_margins_bytes: what ``--fit`` is to leave free on each device; None where
            the flags say the placement.
    """

    name: str
    args: tuple[str, ...]
    fit_margins_bytes: tuple[int, ...] | None = None

    @property
    def launch_args(self) -> tuple[str, ...]:
        """All flags but those of the address."""
        if self.fit_margins_bytes is None:
            return (*self.args, "--fit", "off", "-lv", "4")
        margins = ",".join(str(-(-n // MIB)) for n in self.fit_margins_bytes)
        return (*self.args, "--fit", "on", "-fitt", margins, "-lv", "4")
