import os

import pytest

# Threads of workers that wait for each other in a loop take all of a busy machine's time; these sleep instead.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session")
def table():
    """All about a record's trials that must not depend on when and how often the campaign was interrupted."""

    def view(record):
        return [
            (
                t.number,
                t.stage,
                dict(t.config),
                t.seed,
                str(t.state),
                t.until_steps,
                t.reason,
                t.decision,
                *tuple(
                    (r.step, {name: (s.value, repr(s.low), repr(s.high)) for name, s in r.scores.items()})
                    for r in t.rungs
                ),
            )
            for t in record.trials
        ]

    return view
