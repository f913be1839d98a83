"""Runs the command, but for its pace of triggered syncs: to measure very many of them.

The daemon runs ten at once and then one a second. Earlier versions had no such pace.
"""

import sys

from qsticky.cli import main
from qsticky.sync import worker

if __name__ == "__main__":
    worker._AT_ONCE = 1e9
    sys.exit(main())
