"""Whole campaigns on a training whose score is a formula."""

import os
import signal
import tomllib
from pathlib import Path

import optuna
import pytest

from maestune.campaign import Campaign, Settings
from maestune.campaign.build_record import read_record
from maestune.campaign.store import Store
from maestune.campaign.verdict import winner
from maestune.errors import SettingsError, StoreError
from maestune.space import Choice, Float, Int, Prior, Space
from maestune.types import TrialState

SYNTHETIC = str(Path(__file__).parent / "synthetic.py")


def campaign(out, **values):
    return Campaign(
        Settings.make(**{"model": SYNTHETIC, "budget": "16trials", "workers": 0, "out": str(out), **values})
    )


class Watcher:
    """Remembers events; sends this process a signal at the n-th."""

    def __init__(self, interrupt_at=None):
        self.events, self.updates, self.finished, self.interrupt_at = [], 0, [], interrupt_at

    def start(self, record):
        pass

    def event(self, text):
        self.events.append(text)
        if len(self.events) == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)

    def update(self, record, elapsed_seconds, left_seconds, activity):
        self.updates += 1

    def finish(self, record):
        self.finished.append(record)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "campaign"
    watcher = Watcher()
    return campaign(folder).run([watcher]), watcher


def test_a_campaign_finds_better_than_its_recipe(finished):
    record, _ = finished
    assert record.done
    verdict = record.verdicts[0]
    assert verdict.decision == "better"
    assert verdict.best.value < verdict.recipe.value
    assert verdict.seeds >= 2
    assert len(record.trials) <= 16
    assert 1e-4 < record.trial(record.best).config["lr"] < 1.0


def test_the_recipe_comes_first_and_in_full(finished):
    record, _ = finished
    first = record.trials[0]
    assert (first.role, first.until_steps, first.state) == ("recipe", record.rungs[-1], TrialState.COMPLETE)
    assert dict(first.config) == {"lr": 1e-4, "depth": 2, "kind": "plain"}
    assert [r.step for r in first.rungs] == list(record.rungs)


def test_trials_pause_and_are_promoted(finished):
    record, watcher = finished
    promoted = [t for t in record.search_trials if len(t.rungs) > 1 and t.role != "recipe"]
    stopped = [t for t in record.search_trials if t.state == TrialState.STOPPED]
    assert promoted
    assert stopped
    assert all(t.decision for t in record.trials)
    assert any("paused" in e for e in watcher.events)
    assert watcher.finished == [record]


def test_finals_are_paired_on_fresh_seeds(finished):
    record, _ = finished
    finals = [t for t in record.trials if t.stage == "finals"]
    search_seeds = {t.seed for t in record.search_trials}
    per_source = {s: [t.seed for t in finals if t.source == s] for s in {t.source for t in finals}}
    assert len({tuple(seeds) for seeds in per_source.values()}) == 1
    assert not search_seeds & {t.seed for t in finals}


def test_what_is_left_in_the_folder(finished):
    record, _ = finished
    best = tomllib.loads((record.folder / "best.toml").read_text())
    assert best == dict(record.trial(record.best).config)
    assert tomllib.loads((record.folder / "recipe.toml").read_text())["lr"] == 1e-4
    kept = sorted(p.parent.name for p in record.folder.rglob("checkpoint-*.safetensors"))
    finals = {f"{f.runs[0]:04d}" for f in record.finalists if f.role == "recipe" or f.trial == record.best}
    assert set(kept) == finals, "checkpoints of stopped trials are removed, those to generate from are kept"
    assert not (record.folder / "calibration").exists()


def test_optuna_reads_the_study(finished):
    record, _ = finished
    study = optuna.load_study(study_name="maestune", storage=f"sqlite:///{record.folder}/study.db")
    assert len(study.trials) == len(record.trials)
    for ours, theirs in zip(record.trials, study.trials, strict=True):
        assert theirs.params == dict(ours.config)
        assert theirs.intermediate_values == {r.step: r.scores["miss"].value for r in ours.rungs}
        assert theirs.state.is_finished()
    assert study.best_value == min(
        t.rungs[-1].scores["miss"].value for t in record.trials if t.state == TrialState.COMPLETE
    )


def test_the_folder_reads_back_the_same(finished, table):
    record, _ = finished
    again = read_record(record.folder)
    assert table(again) == table(record)
    assert again.verdicts == record.verdicts


def test_running_a_finished_campaign_again_adds_nothing(finished, table):
    record, _ = finished
    again = campaign(record.folder).run()
    assert table(again) == table(record)


def test_its_resolved_toml_starts_the_same_campaign_elsewhere(finished, tmp_path, table):
    record, _ = finished
    settings = Settings.from_toml(record.folder / "campaign.toml")
    again = Campaign(settings.model_copy(update={"out": str(tmp_path / "copy")})).run()
    assert table(again) == table(record)


def test_another_seed_is_another_campaign(finished, tmp_path, table):
    record, _ = finished
    assert table(campaign(tmp_path / "other", seed=1).run()) != table(record)


@pytest.mark.parametrize("moment", [1, 4, 9, 17])
def test_interrupted_and_resumed_equals_uninterrupted(finished, tmp_path, moment, table):
    record, _ = finished
    folder = tmp_path / "campaign"
    first = campaign(folder).run([Watcher(interrupt_at=moment)])
    assert not first.done
    again = Campaign.resume(folder, workers=0).run()
    assert table(again) == table(record)


def test_diverged_trials_are_recorded_with_their_reason(finished, tmp_path):
    record = campaign(tmp_path / "c", strategy="grid", budget="30trials").run()
    diverged = [t for t in record.search_trials if t.config["kind"] == "explodes"]
    assert diverged
    assert all(t.state == TrialState.DIVERGED and "loss is nan" in t.decision for t in diverged)
    assert all(t.config["kind"] != "explodes" for t in record.trials if t.number == record.best)


def test_a_budget_of_full_trainings_is_kept(tmp_path):
    record = campaign(tmp_path / "c", budget="10full").run()
    assert record.done
    assert record.full_trainings <= 10 + 1e-9
    assert record.verdicts[0].seeds >= 2


def test_a_budget_of_time_ends_with_a_verdict(tmp_path):
    record = campaign(tmp_path / "c", budget="6s").run()
    assert record.done
    assert record.verdicts[0].seeds >= 2
    assert record.rungs[-1] <= 90


def test_the_smallest_budget_still_ends_in_words(tmp_path):
    record = campaign(tmp_path / "c", budget="1trial").run()
    assert record.done
    assert record.verdicts
    assert {t.stage for t in record.trials} == {"search", "finals"}


def test_several_objectives_need_scores_of_their_names(tmp_path):
    with pytest.raises(SettingsError, match="'other' is not among the scores"):
        campaign(tmp_path / "c", objective=("miss:min", "other:max")).run()


def test_a_different_space_in_the_same_folder_is_refused(finished, tmp_path):
    folder = tmp_path / "c"
    campaign(folder).run([Watcher(interrupt_at=3)])
    with pytest.raises(StoreError, match=r"different campaign:\n  parameter lr: 1e-05:1 log.*→ 0.001:1 log"):
        campaign(folder, range={"lr": (1e-3, 1.0)}).run()
    record, _ = finished
    with pytest.raises(StoreError, match="steps: 90 → 45"):
        campaign(folder, steps=45).run()
    with pytest.raises(StoreError, match="seed: 0 → 5"):
        campaign(record.folder, seed=5).run()


def test_a_folder_in_use_is_refused(tmp_path):
    class Nested(Watcher):
        def event(self, text):
            if not self.events:
                self.events.append(text)
                with pytest.raises(StoreError, match="in use by another"):
                    campaign(tmp_path / "c").run()

    watcher = Nested()
    campaign(tmp_path / "c", budget="4trials").run([watcher])
    assert watcher.events


def test_draws_are_centred_for_the_length_of_a_training_and_the_recipe_stays(tmp_path):
    published = Float("lr", 5e-4, 2e-2, scale="log", prior=Prior(1e-3, "high", steps=9000))
    space = Space((published, Int("depth", 1, 6, prior=Prior(2)), Choice("kind", ("plain",))))
    record = campaign(tmp_path / "c", space=space.to_dict(), strategy="random", budget="12trials").run()
    recipe, *drawn = (t.config["lr"] for t in record.trials if t.stage == "search")
    assert recipe == 1e-3
    assert all(1.8e-3 < lr < 1.1e-2 for lr in drawn[:3])  # around 4.4e-3; those after them are drawn uniformly
    assert record.space == space
    (note,) = (note for note in record.notes if note.startswith("lr: draws are centred"))
    assert "0.0044 in place of 0.001" in note
    assert any("2409.19913" in citation for citation in record.citations)


def test_output_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"Cannot write to .*file/c"):
        campaign(tmp_path / "file" / "c").run()


def test_a_space_fixed_to_a_point_is_refused(tmp_path):
    fixed = {"lr": 1e-3, "depth": 2, "kind": "plain"}
    with pytest.raises(SettingsError, match="nothing to search"):
        campaign(tmp_path / "c", set=fixed).run()


def test_unknown_parameters_are_named(tmp_path):
    with pytest.raises(Exception, match=r"'dept'.*depth"):
        campaign(tmp_path / "c", set={"dept": 3}).run()


def test_a_training_that_always_fails_stops_the_campaign(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHETIC_FOLDER", str(tmp_path))
    (tmp_path / "raise").touch()
    with pytest.raises(SettingsError, match=r"first 3 trials all failed.*no such luck"):
        campaign(tmp_path / "c").run()
    assert "ValueError: no such luck" in (tmp_path / "c" / "trials" / "0000" / "error.txt").read_text()


def test_resume_of_nothing(tmp_path):
    with pytest.raises(StoreError, match="holds no campaign"):
        Campaign.resume(tmp_path)
    with pytest.raises(StoreError, match="holds no campaign"):
        read_record(tmp_path)


def test_dry_run_estimates_and_leaves_nothing(tmp_path):
    found = campaign(tmp_path / "c", budget="10m").dry_run()
    assert found.steps_per_second > 0
    assert found.full_training_seconds == pytest.approx(found.full_steps / found.steps_per_second)
    assert found.full_trainings > 1
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(("model", "data"), [("gan", "digits"), ("vae", "digits"), ("flow", "digits"), ("lm", "pydoc")])
def test_a_family_has_built_in_data(model, data):
    assert Campaign(model=model).settings.data == data
    assert Campaign(model=model, data="elsewhere").settings.data == "elsewhere"


REVERSED = """
from maestune import Float, Report, Space
space, objective, full_steps = Space((Float("x", -2.0, 2.0),)), "loss:min", 3
def train(config, run):
    for step in run.steps():
        if run.due(step):
            loss = (config["x"] - 1.0) ** 2
            scores = {"loss": loss if run.split == "search" else 0.9 - loss / 2}
            yield Report(step, {}, scores=scores, state=lambda: {"s": step})
"""


def test_what_is_recommended_between_the_finals_is_what_the_verdict_is_about(tmp_path):
    (tmp_path / "reversed.py").write_text(REVERSED)
    Campaign(model=f"{tmp_path / 'reversed.py'}:train", budget="40trials", workers=0, out=str(tmp_path / "c")).run()
    store = Store(tmp_path / "c")
    store.set_facts(done=False)  # as after an interruption when each finalist has some seeds
    store.close()
    record = read_record(tmp_path / "c")
    assert len(record.finalists) == 3
    best = winner(record.finalists, record.objectives[0])
    leader = min((t for t in record.search_trials if t.score("loss")), key=lambda t: t.score("loss").value)
    assert best.trial == record.best != leader.number
    use = record.recommended
    means = {f.trial: f.scores["loss"].value for f in record.finalists}
    assert means[use.trial] == min(means[best.trial], means[0])
