"""What Python users do: a script, a notebook, a finished folder."""

import subprocess
import sys
import textwrap

import pytest

import maestune
from maestune import Choice, Float, Report, Space
from maestune.errors import MaestuneError, SettingsError

SPACE = Space((Float("x", 0.0, 1.0), Choice("kind", ("a", "b"))))


def own(config, run):
    for step in run.steps():
        if run.due(step):
            yield Report(step, scores={"gain": 1 - (config["x"] - 0.7) ** 2 - 1 / (10 + step)}, state=dict)


def test_tune_runs_a_training_of_a_file_in_workers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            from maestune import Float, Report, Space, tune

            space = Space((Float("x", 0.0, 1.0),))

            def train(config, run):
                for step in run.steps():
                    if run.due(step):
                        yield Report(step, scores={"gain": 1 - (config["x"] - 0.7) ** 2}, state=dict)

            if __name__ == "__main__":
                result = tune(train, space, objective="gain:max", budget="12trials", steps=9, workers=1, out="out",
                              verbose=False)
                print(result.decision, abs(result.best["x"] - 0.7) < 0.2, result.folder)
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["better", "True", "out"], done.stderr
    assert (tmp_path / "out" / "report.html").exists()


def test_a_script_without_main_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            from maestune import Float, Report, Space, tune
            space = Space((Float("x", 0.0, 1.0),))
            def train(config, run):
                yield Report(run.until_steps, scores={"gain": config["x"]})
            tune(train, space, objective="gain:max", budget="4trials", steps=9, out="out", verbose=False)
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "if __name__ == '__main__':" in done.stderr


def test_a_training_without_a_file_runs_in_this_process(tmp_path):
    def inner(config, run):
        yield from own(config, run)

    result = maestune.tune(
        inner, SPACE, objective="gain:max", budget="12trials", steps=9, out=str(tmp_path / "c"), verbose=False
    )
    assert result.decision == "better"
    assert result.best["x"] == pytest.approx(0.7, abs=0.25)
    again = maestune.open_campaign(tmp_path / "c")
    assert again.summary == result.summary


def test_a_training_that_says_nothing_of_what_is_better(tmp_path):
    with pytest.raises(SettingsError, match="Nothing says what is better"):
        maestune.tune(own, SPACE, budget="4trials", steps=9, workers=0, out=str(tmp_path / "c"), verbose=False)


def test_several_objectives_make_a_front(tmp_path):
    def two(config, run):
        for step in run.steps():
            if run.due(step):
                yield Report(
                    step, scores={"left": config["x"], "right": 1 - config["x"] + (config["kind"] == "b")}, state=dict
                )

    result = maestune.tune(
        two,
        SPACE,
        objective=("left:min", "right:min"),
        budget="48trials",
        steps=9,
        out=str(tmp_path / "c"),
        verbose=False,
    )
    front = result.summary["front"]
    assert len(front) >= 2
    assert all(point["config"]["kind"] == "a" for point in front)
    assert len(result.summary["verdicts"]) == 2
    assert "Pareto" in (tmp_path / "c" / "report.html").read_text()


def test_open_campaign_names_what_is_not_there(tmp_path):
    with pytest.raises(MaestuneError, match="No folder"):
        maestune.open_campaign(tmp_path / "none")


def test_the_public_names_are_few_and_importing_is_quiet():
    code = "import maestune, sys; assert 'plotly' not in sys.modules and 'sklearn' not in sys.modules; print('quiet')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "quiet\n"
    assert done.stderr == ""
    assert len(maestune._PLACES) <= 35
    assert all(hasattr(maestune, name) for name in maestune._PLACES)
