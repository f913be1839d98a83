"""The section on what is configured, and from where."""

from collections.abc import Iterator

from qsticky import hints, notify_urls
from qsticky.check.facts import Facts
from qsticky.check.findings import Finding, Section
from qsticky.config import VARIABLES

SECTION = Section("Configuration")


def settings(facts: Facts) -> Iterator[Finding]:
    """Tell each variable that is set, and what about it is worth a sentence."""
    set_ones = facts.config.settings
    for setting in set_ones:
        value = " is set" if setting.text is None else f"={setting.text}"
        yield SECTION.ok("setting", f"{setting.name}{value} ({setting.source})")
    rest = len(VARIABLES) - len(set_ones)
    which = "The other" if set_ones else "All"
    yield SECTION.ok("defaults", f"{which} {rest} variables have their defaults")
    if addresses := notify_urls.services(facts.config.notify_urls.reveal()):
        labels = ", ".join(label for label, _ in addresses)
        yield SECTION.ok("notify", f"NOTIFY_URLS has {labels}; qsticky notify sends a test")
    for sentence in hints.misnamed(facts.config):
        yield SECTION.warning("misspelt", sentence)
    for sentence in hints.advice(facts.config):
        yield SECTION.warning("advice", sentence)
    if not_read := hints.not_read(facts.config):
        yield SECTION.skipped("not_read", not_read)
