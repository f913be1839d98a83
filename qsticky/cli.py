"""The command line: one command to one function, each imported only when it is asked for.

It alone reads `os.environ`, and hands it on.
"""

import os
import sys

TYPE_CHECKING = False  # `typing` is more than the health check needs
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from qsticky.config import Config

# An older libseccomp answers the C library's clone3 with an error that it doesn't expect.
_NO_THREAD = (
    "no thread can be started; raise the limits of processes and memory (in compose: pids_limit, "
    "ulimits, mem_limit), or update Docker and libseccomp, of which older ones refuse threads"
)


def main() -> int:
    """Run the command that the arguments name, and return the exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] in ([], ["run"], ["demo"]):  # they end by a signal, however early it comes
        from qsticky import signals

        signals.block()
    if arguments == ["healthcheck"]:  # before anything else is imported: it runs every few seconds
        return _healthcheck()
    if arguments in ([], ["run"]):  # nothing to parse, so no parser is imported
        return _run()
    return _main(arguments)


def _main(arguments: list[str]) -> int:
    parsed = _parse(arguments)
    if parsed.command == "healthcheck":
        return _healthcheck()
    if parsed.command == "check":
        from qsticky.check import command

        return command.main(as_json=parsed.json, environ=os.environ)
    if parsed.command == "notify":
        return _notify()
    if parsed.command == "demo":
        return _demo(parsed.scenario, parsed.minutes)
    return _run()


def _parse(arguments: list[str]) -> "Namespace":
    import argparse
    from functools import partial
    from typing import Any

    from qsticky import __version__, usage

    class Parser(argparse.ArgumentParser):
        def __init__(self, **given: Any) -> None:
            formatter = partial(argparse.RawTextHelpFormatter, width=80)
            super().__init__(**given, formatter_class=formatter, epilog=usage.DOCUMENTATION)

    parser = Parser(prog="qsticky", description=usage.QSTICKY)
    parser.add_argument("--version", action="version", version=f"qsticky {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    added = {
        name: commands.add_parser(name, help=summary, description=description)
        for name, (summary, description) in usage.COMMANDS.items()
    }
    added["check"].add_argument(
        "--json", action="store_true", help="write a JSON document, for programs"
    )
    if arguments[0] == "demo":
        _add_scenarios(added["demo"])
    return parser.parse_args(arguments)


def _add_scenarios(demo: "ArgumentParser") -> None:
    import textwrap

    from qsticky.demo.scenarios import SCENARIOS

    names = textwrap.fill(", ".join(SCENARIOS), 60, break_on_hyphens=False)
    demo.add_argument(
        "--scenario",
        metavar="NAME",
        choices=SCENARIOS,
        help=f"play a bad day, over and over:\n{names}",
    )
    demo.add_argument(
        "--minutes",
        metavar="N",
        type=minutes,
        default=10.0,
        help="how long its trouble lasts each time (default: 10)",
    )


def minutes(text: str) -> float:
    """Read an argument's number of minutes; ValueError for what is no time to wait."""
    number = float(text)
    if not 0 < number <= 24 * 60:
        raise ValueError
    return number


def _healthcheck() -> int:
    from qsticky import healthcheck

    return healthcheck.main(os.environ)


def _run() -> int:
    config = _load()
    if config is None:
        return 2
    from qsticky import memory
    from qsticky.daemon import Daemon

    memory.spare()
    try:
        return Daemon(config, revision=os.environ.get("QSTICKY_REVISION", "")).run()
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        print(f"qsticky: {_NO_THREAD}", file=sys.stderr)
        return 1


def _notify() -> int:
    config = _load()
    if config is None:
        return 2
    from qsticky.record import trial

    try:
        return trial.main(config.notify_urls.reveal())
    except KeyboardInterrupt:  # as in `qsticky check`
        return 130


def _demo(scenario: str | None, minutes: float) -> int:
    from qsticky.demo import player
    from qsticky.errors import ConfigurationError

    try:
        return player.main(scenario, minutes, os.environ)
    except ConfigurationError as error:
        _tell(error.mistakes)
        return 2


def _load() -> "Config | None":
    """Load the configuration; None, when its mistakes are on stderr."""
    from qsticky import config
    from qsticky.errors import ConfigurationError

    try:
        return config.load(os.environ)
    except ConfigurationError as error:
        _tell(error.mistakes)
        return None


def _tell(mistakes: list[str]) -> None:
    for mistake in mistakes:
        print(f"qsticky: {mistake}", file=sys.stderr)
