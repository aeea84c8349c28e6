from __future__ import annotations

from hypothesis import HealthCheck, settings

# Tests judge behaviour, never the clock: a busy machine must not fail them.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
