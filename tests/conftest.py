from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests of several rooms ask the models that the module beside this file makes.
sys.path.insert(0, str(Path(__file__).parent))

# Tests judge behaviour, never the clock: a busy machine must not fail them.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True, scope="session")
def state_folder(tmp_path_factory):
    """A key of the tests' own: what they sign is nobody's affair."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield
