"""Runs the command, but for its pace of triggered syncs: to measure very many of them.

The daemon runs ten at once and then one a second. The first versions had no such pace.
"""

import contextlib
import sys

from qsticky.cli import main

if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        from qsticky.sync import worker

        worker._AT_ONCE = 1e9
    sys.exit(main())
