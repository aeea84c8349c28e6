from __future__ import annotations

import sys
from pathlib import Path

# The tests of this room take the families' spaces from the module beside this file.
sys.path.insert(0, str(Path(__file__).parent))
