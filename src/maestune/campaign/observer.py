"""Who watches a campaign. Observers are told; they decide nothing, and a failing one stops nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from maestune.campaign.record import Record


class Observer(Protocol):
    """Told what happens, as it happens."""

    def start(self, record: Record) -> None:
        """The campaign begins, or goes on."""
        ...

    def update(
        self, record: Record, elapsed_seconds: float, left_seconds: float | None, activity: Sequence[str]
    ) -> None:
        """Where the campaign stands; called several times a second. `activity`: one line per running trial."""
        ...

    def event(self, text: str) -> None:
        """Something worth a line happened."""
        ...

    def finish(self, record: Record) -> None:
        """The campaign ended, or was interrupted."""
        ...
