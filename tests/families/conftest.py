from __future__ import annotations

import sys
from pathlib import Path

# The tests of the GAN share the module beside this file.
sys.path.insert(0, str(Path(__file__).parent))
