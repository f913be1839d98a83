"""The command line: one command to one function, each imported only when it is asked for."""

import sys

# Those of `qsticky.demo.scenarios`, which the daemon need not import.
SCENARIOS = (
    *("outage", "gluetun-outage", "wrong-password", "ban", "vpn-restart"),
    *("no-port", "rejected", "not-listening", "flapping"),
)


def main() -> int:
    """Run the command that the arguments name, and return the exit code."""
    arguments = sys.argv[1:]
    if arguments == ["healthcheck"]:  # before anything else is imported: it runs every few seconds
        from qsticky import healthcheck

        return healthcheck.main()
    if arguments in ([], ["run"]):  # nothing to parse, so no parser is imported
        return _run()
    return _main(arguments)


def _main(arguments: list[str]) -> int:
    import argparse
    from functools import partial
    from typing import Any

    from qsticky import __version__, usage

    class Parser(argparse.ArgumentParser):
        def __init__(self, **given: Any) -> None:
            formatter = partial(argparse.RawDescriptionHelpFormatter, width=80)
            super().__init__(**given, formatter_class=formatter, epilog=usage.DOCUMENTATION)

    parser = Parser(prog="qsticky", description=usage.QSTICKY)
    parser.add_argument("--version", action="version", version=f"qsticky {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    commands.add_parser("run", help="run the daemon (the default)", description=usage.RUN)
    check = commands.add_parser(
        "check", help="try the configuration once, and tell what is wrong", description=usage.CHECK
    )
    check.add_argument("--json", action="store_true", help="write a JSON document, for programs")
    commands.add_parser(
        "healthcheck",
        help="read the health file, for Docker's HEALTHCHECK",
        description=usage.HEALTHCHECK,
    )
    demonstration = commands.add_parser(
        "demo",
        help="run the daemon between a simulated Gluetun and qBittorrent",
        description=usage.DEMO,
    )
    demonstration.add_argument(
        "--scenario",
        metavar="NAME",
        choices=SCENARIOS,
        help=f"play a bad day, over and over: {', '.join(SCENARIOS)}",
    )
    demonstration.add_argument(
        "--minutes",
        metavar="N",
        type=minutes,
        default=10.0,
        help="how long its trouble lasts each time (default: 10)",
    )
    parsed = parser.parse_args(arguments)
    command = parsed.command
    if command == "healthcheck":
        from qsticky import healthcheck

        return healthcheck.main()
    if command == "check":
        import os

        from qsticky.check import command as check_command

        return check_command.main(as_json=parsed.json, environ=os.environ)
    if command == "demo":
        from qsticky import signals
        from qsticky.demo import player as demo

        signals.block()
        return demo.main(parsed.scenario, parsed.minutes)
    return _run()


def minutes(text: str) -> float:
    """Read an argument's number of minutes; ValueError for what is no time to wait."""
    number = float(text)
    if not 0 < number <= 24 * 60:
        raise ValueError
    return number


def _run() -> int:
    from qsticky import signals

    signals.block()  # first of all: what follows takes a moment, and starts threads
    from qsticky import config, daemon
    from qsticky.errors import ConfigurationError

    try:
        loaded = config.load()
    except ConfigurationError as error:
        for mistake in error.mistakes:
            print(f"qsticky: {mistake}", file=sys.stderr)
        return 2
    return daemon.Daemon(loaded).run()
