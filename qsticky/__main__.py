"""`python -m qsticky`, which is `qsticky`."""

import sys

from qsticky.cli import main

if __name__ == "__main__":
    sys.exit(main())
