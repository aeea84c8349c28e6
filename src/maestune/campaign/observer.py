"""Who watches a campaign. Observers are told; they decide nothing, and a failing one stops nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


class Observers:
    """Several observers as one. One that raises is told nothing more, and stops neither the others nor the campaign.

    `failures`: what happened to those, as sentences, oldest first.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)
        self.failures: list[str] = []

    def start(self, record: Record) -> None:
        """The campaign begins, or goes on."""
        self._tell(lambda observer: observer.start(record))

    def update(
        self, record: Record, elapsed_seconds: float, left_seconds: float | None, activity: Sequence[str]
    ) -> None:
        """Where the campaign stands."""
        self._tell(lambda observer: observer.update(record, elapsed_seconds, left_seconds, activity))

    def event(self, text: str) -> None:
        """Something worth a line happened."""
        self._tell(lambda observer: observer.event(text))

    def finish(self, record: Record) -> None:
        """The campaign ended, or was interrupted."""
        self._tell(lambda observer: observer.finish(record))

    def _tell(self, say: Callable[[Observer], None]) -> None:
        for observer in list(self._observers):
            try:
                say(observer)
            except Exception as error:  # a closed terminal or pipe, or an error of the observer's own
                self._observers.remove(observer)
                name = type(observer).__name__
                self.failures.append(
                    f"{name} failed ({type(error).__name__}: {error}) and shows nothing more; the campaign goes on"
                )
