"""The section on what is configured, and from where."""

from collections.abc import Iterator
from dataclasses import fields

from qsticky import config
from qsticky.check.facts import Facts
from qsticky.check.findings import Finding, Section
from qsticky.config import Config

SECTION = Section("Configuration")


def settings(facts: Facts) -> Iterator[Finding]:
    """Tell each variable that is set, and what about it is worth a sentence."""
    set_ones = config.settings(facts.config)
    for setting in set_ones:
        value = " is set" if setting.text is None else f"={setting.text}"
        yield SECTION.ok("setting", f"{setting.name}{value} ({setting.source})")
    rest = len(fields(Config)) - len(set_ones)
    which = "The other" if set_ones else "All"
    yield SECTION.ok("defaults", f"{which} {rest} variables have their defaults")
    for sentence in config.misspelt():
        yield SECTION.warning("misspelt", sentence)
    for warning in facts.config.warnings():
        yield SECTION.warning("advice", warning)
