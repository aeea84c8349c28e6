from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from maestune.cli import main as cli

SYNTHETIC = str(Path(__file__).parents[1] / "campaign" / "synthetic.py")


def _run(*arguments):
    result = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="session")
def run():
    """Runs a command; what it raises is raised."""
    return _run


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder of a finished campaign, and what its command printed."""
    folder = tmp_path_factory.mktemp("cli") / "campaign"
    result = _run("tune", SYNTHETIC, "--budget", "14trials", "--workers", 0, "--out", folder, "--json")
    return folder, json.loads(result.stdout)
