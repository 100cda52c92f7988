"""docs/cli.md is what the commands say."""

from __future__ import annotations

import re
from pathlib import Path

import click

from placer.cli.main import cli
from placer.cli.manual import VARIABLES, examples, manual

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "cli.md"
VARIABLE = re.compile(r'"(PLACER_[A-Z_]+)"')
# Set by placer for what it starts, or by click; not for people.
INTERNAL = {"PLACER_EMULATED_STATE", "PLACER_COMPLETE"}


def test_the_page_is_up_to_date() -> None:
    """A verb or an option that changed is in the page: scripts/docs makes it again."""
    assert PAGE.read_text(encoding="utf-8") == manual(cli)


def test_every_verb_has_a_section_and_an_example() -> None:
    """No verb is without an example in its help."""
    text = manual(cli)
    lines = examples(cli)
    for name in cli.commands:
        assert f"\n## placer {name}\n" in text or f"\n## placer {name} " in text
        assert any(f"placer {name}" in line for line in lines), name


def test_every_variable_that_is_read_is_in_the_page() -> None:
    """What the environment can change is written down, and nothing else is."""
    read = {
        name
        for path in (ROOT / "placer").rglob("*.py")
        if path.name != "manual.py"
        for name in VARIABLE.findall(path.read_text(encoding="utf-8"))
    }
    assert read - INTERNAL == set(VARIABLES)


def test_values_ranges_and_defaults_are_told() -> None:
    """What an option takes and what it is without being given stand in its row."""

    @click.group()
    def tool() -> None:
        pass

    @tool.command("go")
    @click.argument("names", nargs=-1)
    @click.argument("kind", type=click.Choice(["a", "b"]))
    @click.option("-n", "--number", type=click.IntRange(min=1, max=9), help="How many.")
    @click.option("--file", type=click.Path(), help="A file.  [$HOME, here]")
    @click.option("--rate", type=float, default=0.5, show_default=True, help="It.")
    @click.option("--on/--off", default=None, help="Whether.")
    @click.option("--secret", hidden=True)
    def go(**_: object) -> None:
        """Go | away.

        \b
        Example:
          placer go a
        """

    text = re.sub(" +", " ", manual(tool))
    assert "placer go [OPTIONS] [NAMES]... {a|b}" in text
    assert "| `-n`, `--number` | N from 1 to 9 | How many. | |" in text
    assert "| `--file` | path | A file. | $HOME, here |" in text
    assert "| `--rate` | number | It. | 0.5 |" in text
    assert "| `--on`, `--off` | | Whether. | |" in text
    assert r"Go \| away." in text
    assert "secret" not in text
    assert examples(tool) == ("placer go a",)
