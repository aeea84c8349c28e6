import pytest

from maestune.cli import main as cli


def test_errors_reach_the_person_without_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["maestune", "resume", "/nowhere"])
    with pytest.raises(SystemExit) as status:
        cli.main()
    assert status.value.code == 2
    assert capsys.readouterr().err.startswith("error: /nowhere holds no campaign")


def test_the_help_names_every_command(run):
    told = run("--help").stdout
    for name in ("tune", "resume", "report", "generate", "trials", "score", "features", "recipes", "domains", "cite"):
        assert name in told
    assert run("--version").stdout.startswith("maestune ")
