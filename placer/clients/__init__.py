"""Settings of the usual tools for a served profile, as text: nothing is asked here."""

from __future__ import annotations

from placer.clients.endpoint import KEY, Endpoint
from placer.clients.tools import TOOLS, Setting, SettingFile, setting_of

__all__ = ["KEY", "TOOLS", "Endpoint", "Setting", "SettingFile", "setting_of"]
