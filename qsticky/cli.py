"""The command line: one command to one function, each imported only when it is asked for."""

import sys


def main() -> int:
    """Run the command that the arguments name, and return the exit code."""
    arguments = sys.argv[1:]
    if arguments == ["healthcheck"]:  # before anything else is imported: it runs every few seconds
        from qsticky import healthcheck

        return healthcheck.main()
    return _main(arguments)


def _main(arguments: list[str]) -> int:
    import argparse

    from qsticky import __version__

    parser = argparse.ArgumentParser(
        prog="qsticky",
        description="Keeps qBittorrent really listening on the port that Gluetun was given.",
        epilog="Everything is configured by environment variables; the README lists them.",
    )
    parser.add_argument("--version", action="version", version=f"qsticky {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="run the daemon (the default)")
    commands.add_parser("healthcheck", help="read the health file, for Docker's HEALTHCHECK")
    commands.add_parser("demo", help="run the daemon against a simulated Gluetun and qBittorrent")
    command = parser.parse_args(arguments).command
    if command == "healthcheck":
        from qsticky import healthcheck

        return healthcheck.main()
    from qsticky import signals

    signals.block()  # first of all: what follows takes a moment, and starts threads
    if command == "demo":
        from qsticky import demo

        return demo.main()
    return _run()


def _run() -> int:
    from qsticky import config, daemon
    from qsticky.errors import ConfigurationError

    try:
        loaded = config.load()
    except ConfigurationError as error:
        for mistake in error.mistakes:
            print(f"qsticky: {mistake}", file=sys.stderr)
        return 2
    return daemon.Daemon(loaded).run()
