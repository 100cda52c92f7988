"""``python -m placer`` is the command ``placer``."""

from placer.cli import main

main()
