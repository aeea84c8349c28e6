"""optuna-dashboard opens our studies."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from maestune.campaign import Campaign, Settings

SYNTHETIC = str(Path(__file__).parent / "synthetic.py")


def test_optuna_dashboard_shows_a_campaign(tmp_path):
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    record = Campaign(Settings.make(model=SYNTHETIC, budget="12trials", workers=0, out=str(tmp_path / "c"))).run()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        "from optuna_dashboard._cli import main; main()",
        f"sqlite:///{record.folder}/study.db",
    ]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        studies = _get(f"http://127.0.0.1:{port}/api/studies", server)["study_summaries"]
        assert [s["study_name"] for s in studies] == ["maestune"]
        detail = _get(f"http://127.0.0.1:{port}/api/studies/{studies[0]['study_id']}", server)
        assert len(detail["trials"]) == len(record.trials)
        assert {t["state"] for t in detail["trials"]} <= {"Complete", "Pruned", "Fail"}
        complete = next(t for t in detail["trials"] if t["state"] == "Complete")
        assert len(complete["intermediate_values"]) == 4  # of as many rungs
    finally:
        server.terminate()
        server.communicate(timeout=10)


def _get(url, server):
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.URLError:
            if time.monotonic() > deadline or server.poll() is not None:
                raise
            time.sleep(0.2)
