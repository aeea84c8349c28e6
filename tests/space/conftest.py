from __future__ import annotations

import sys
from pathlib import Path

# The tests of this room draw their spaces with the module beside this file.
sys.path.insert(0, str(Path(__file__).parent))
