"""What people deploy qSticky with: Kubernetes manifests, the systemd unit, the wheel."""

import os
from pathlib import Path

# Where tests/prepare puts what Debian 12 has no package of.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qsticky"
