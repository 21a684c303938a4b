"""``python tests/servers COMMAND``, or ``python -m tests.servers COMMAND``: see ``command``.

Run as a folder, it imports nothing of ``tests`` but this package.
"""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    # A folder that is run is the first place where modules are looked for, and not known as a package.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    sys.exit(importlib.import_module("servers.command").main())
