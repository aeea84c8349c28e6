from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The tests of this room build their records with the module beside this file.
sys.path.insert(0, str(Path(__file__).parent))
import records

from maestune.campaign.record import Record


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A finished campaign with all its files; nothing may write into it."""
    return records.build(tmp_path_factory.mktemp("full"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "campaign"
