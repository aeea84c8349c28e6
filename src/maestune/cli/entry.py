"""Entry point of the `maestune` command: signals are heeded before the first slow import."""

from __future__ import annotations

from maestune.cli.stopping import stop_at_once


def main() -> None:
    """Run the command line."""
    stop_at_once()
    from maestune.cli.main import main as run  # imports PyTorch, which takes seconds

    run()
