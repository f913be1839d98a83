"""Runs the command, but for its pace of triggered syncs: to measure very many of them.

The daemon runs ten at once and then one a second. Earlier versions had no such pace.
"""

import contextlib
import sys

from qsticky.cli import main

with contextlib.suppress(ImportError):
    from qsticky.sync.worker import TokenBucket

    TokenBucket._MOST = 1e9

if __name__ == "__main__":
    sys.exit(main())
