"""Other ways of drawing samples from trained weights: which are tried, when, and what becomes of the best."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from agendas import RUNGS, Kept, agenda
from maestune.campaign.costs import EvaluationPlan
from maestune.campaign.sampling_search import FIRST, SECOND, SamplingSearch, cautious, first_ways, second_ways, told
from maestune.space import Choice, Float, Space
from maestune.types import Config, Constraint, Rung, Score, Trial, TrialState

SPACE = Space(
    (
        Float("lr", 1e-5, 1.0, scale="log"),
        Float("guidance", 1.0, 4.0),
        Choice("steps", (2, 4, 8, 16, 32), ordered=True),
        Choice("solver", ("euler",)),
    )
)
DRAWN_WITH = frozenset({"guidance", "steps", "solver"})
CONFIG = Config.of(lr=0.1, guidance=1.5, steps=8, solver="euler")
FULL = RUNGS[-1]


def ways(best: Config | None = None, seed: int = 0) -> list[Config]:
    first = first_ways(SPACE, DRAWN_WITH, CONFIG, np.random.default_rng(seed))
    return first if best is None else second_ways(SPACE, DRAWN_WITH, best, first, np.random.default_rng(seed))


def test_the_first_way_is_the_model_as_it_is_and_the_others_are_all_over_the_ranges() -> None:
    first, *others = ways()
    assert first == CONFIG
    assert all(SPACE.check(way) == way for way in others)
    assert all((way["lr"], way["solver"]) == (0.1, "euler") for way in others)
    guidance = sorted((float(cast(float, way["guidance"])) - 1) / 3 for way in others)
    assert [int(u * (FIRST - 1)) for u in guidance] == list(range(FIRST - 1)), "one in every stretch"
    assert {way["steps"] for way in others} == {2, 4, 8, 16, 32}
    assert ways() == ways()
    assert ways() != ways(seed=1)


def test_the_nearest_come_first() -> None:
    def far(way: Config) -> float:
        units = [(SPACE[n].to_unit(way[n]) - SPACE[n].to_unit(CONFIG[n])) ** 2 for n in ("guidance", "steps")]
        return sum(units)

    # Steps are rounded to those there are: distances of the points themselves differ by less than half a stretch of them.
    distances = [far(way) for way in ways()[1:]]
    assert np.corrcoef(distances, range(FIRST - 1))[0, 1] > 0.8


def test_the_second_wave_is_near_the_best_of_the_first() -> None:
    best = CONFIG.with_(guidance=3.95, steps=16)
    found = ways(best)
    assert all(SPACE.check(way) == way for way in found)
    assert all(3.6 <= cast(float, way["guidance"]) <= 4.0 and way["steps"] in (8, 16, 32) for way in found)
    assert len({way["guidance"] for way in found}) > 1


GAN = Space((Float("lr", 1e-5, 1.0, scale="log"), Float("truncation", 0.5, 0.95, off=1.0)))
FLOW = Space(
    (Float("guidance", 1.0, 4.0), Choice("solver", ("euler", "heun")), Choice("steps", (2, 4, 8), ordered=True))
)
LM = Space((Float("temperature", 0.3, 1.5), Float("top_p", 0.5, 0.99, off=1.0)))
STEPS = Space(
    (Float("lr", 1e-5, 1.0), Choice("steps", (2, 4, 8, 16, 32), ordered=True), Choice("solver", ("euler", "heun")))
)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    ("space", "config"),
    [
        (GAN, Config.of(lr=0.1, truncation=1.0)),
        (GAN, Config.of(lr=0.1, truncation=0.7)),
        (FLOW, Config.of(guidance=1.5, solver="euler", steps=8)),
        (LM, Config.of(temperature=1.0, top_p=1.0)),
    ],
    ids=["gan", "gan-truncated", "flow", "lm"],
)
def test_no_way_is_tried_twice_nor_the_trained_one_again(space: Space, config: Config, seed: int) -> None:
    names = {param.name for param in space} - {"lr"}
    first = first_ways(space, names, config, np.random.default_rng(seed))
    assert first[0] == config
    for best in first:
        found = [*first, *second_ways(space, names, best, first, np.random.default_rng(seed))]
        assert len(set(found)) == len(found) == FIRST + SECOND
        assert all(space.check(way) == way for way in found)
    assert first == first_ways(space, names, config, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(12))
def test_where_there_are_fewer_ways_there_are_fewer_drawings(seed: int) -> None:
    config = Config.of(lr=0.1, steps=8, solver="euler")
    for names, n in (({"solver"}, 2), ({"steps"}, 5), ({"solver", "steps"}, 10)):
        first = first_ways(STEPS, names, config, np.random.default_rng(seed))
        found = [*first, *second_ways(STEPS, names, first[-1], first, np.random.default_rng(seed))]
        assert len(set(found)) == len(found) == n


def test_weak_truncation_is_next_to_none() -> None:
    """The off value (1.0) comes first in the unit interval, and its neighbors are at the other end of it."""
    config = Config.of(lr=0.1, truncation=1.0)
    first = first_ways(GAN, {"truncation"}, config, np.random.default_rng(0))
    values = [float(cast(float, way["truncation"])) for way in first]
    assert values == sorted(values, reverse=True)
    near = second_ways(GAN, {"truncation"}, config, first, np.random.default_rng(0))
    assert all(float(cast(float, way["truncation"])) > 0.75 for way in near)


def test_drawings_of_a_small_space_end_when_all_ways_were_drawn(store: Kept) -> None:
    trained(store, 2.0)
    found = drawings(store, [2.0, 3.0, 1.0, 3.0, 3.0], sampling_parameters=frozenset({"steps"}))
    assert sorted(cast(int, t.config["steps"]) for t in found) == [2, 4, 8, 16, 32]
    assert found[0].config["steps"] == CONFIG["steps"]


@pytest.fixture
def store() -> Kept:
    return Kept()


def trained(store: Kept, fd: float = 3.0, state: TrialState = TrialState.COMPLETE, **values: Any) -> Trial:
    """A search trial with its scores; unless it is said otherwise, fully trained in ten seconds."""
    config = CONFIG.with_(lr=1e-3 * (1 + len(store.trials)))
    trial = store.add(Trial(-1, config, 0, "search", state, FULL, "drawn", **values))
    rungs = tuple(Rung(s, {"fd": Score(fd)}, 1.0) for s in RUNGS)
    return store.save(trial.with_(rungs=rungs, seconds=10.0))


def plan(store: Kept, budget: str = "40trials", now: float = 0.0, **values: Any) -> Any:
    evaluation_plan = EvaluationPlan(RUNGS, 250, screen_seconds=1.0, full_seconds=4.0, final_seconds=8.0)
    return agenda(
        store,
        budget,
        now,
        **{"space": SPACE, "sampling_parameters": DRAWN_WITH, "evaluation_plan": evaluation_plan, **values},
    )


def score(store: Kept, trial: Trial, fd: float, **scores: float) -> None:
    told = {name: Score(value) for name, value in {"fd": fd, **scores}.items()}
    store.save(trial.with_(state=TrialState.COMPLETE, rungs=(Rung(FULL, told, 1.0),), seconds=1.0))


def drawings(store: Kept, fds: list[float], **values: Any) -> list[Trial]:
    """All drawings of a campaign, each scored before the next is asked for."""
    found = plan(store, **values)
    begun: list[Trial] = []
    for fd in fds:
        (trial,) = found.next_sampling()
        begun.append(trial)
        score(store, trial, fd)
    assert list(found.next_sampling()) == []
    return begun


def test_the_best_trained_model_is_drawn_from_in_two_waves(store: Kept) -> None:
    trained(store, 5.0)
    best = trained(store, 2.0)
    trained(store, 1.0, state=TrialState.STOPPED)  # its weights are not kept
    found = drawings(store, [2.1, 3, 3, 1.5, 3, 3, 3, 3, 1.4, 1.6, 1.7, 1.8])
    assert all((t.stage, t.source, t.until_steps) == ("sampling", best.number, FULL) for t in found)
    assert found[0].config == best.config
    assert all(t.config["lr"] == best.config["lr"] for t in found)
    near = cast(float, found[3].config["guidance"])
    assert all(abs(cast(float, t.config["guidance"]) - near) <= 0.31 for t in found[FIRST:])
    chosen, note = plan(store).finalists()
    assert chosen == [found[8].number, 0], "in the place of the one whose weights they are"
    assert note.startswith(f"from the weights of trial {best.number} samples are better drawn with guidance 1.5 → ")
    assert f"(trial {found[8].number})" in note


def test_nothing_changes_where_the_model_as_it_is_is_the_best(store: Kept) -> None:
    best = trained(store, 2.0)
    drawings(store, [1.0] + [1.5] * 11)
    assert plan(store).finalists() == ([best.number], "")


def test_another_way_of_drawing_from_the_recipe_is_a_candidate(store: Kept) -> None:
    recipe = trained(store, 2.0, role="recipe")
    equal = trained(store, 2.0)
    trained(store, 5.0)  # worse than the recipe: hopeless
    found = drawings(store, [2.0, 1.0] + [1.5] * 10)
    assert plan(store).finalists()[0] == [recipe.number, found[1].number, equal.number]


def test_bounds_come_before_objectives(store: Kept) -> None:
    best = trained(store, 2.0)
    store.facts["constraints"] = [["adherence", ">=", 0.95]]
    found = plan(store)
    for k in range(FIRST):
        (trial,) = found.next_sampling()
        score(store, trial, 2.0 + k, adherence=0.9 + 0.01 * k)
    assert found._sampling_search.better() == (best, store.trials[best.number + 1 + 5])  # the first within


def test_bounds_are_kept_as_far_as_can_be_told(store: Kept) -> None:
    scores = {"fd": Score(3.0, 2.0, 4.0), "adherence": Score(0.96, 0.93, 0.99), "copies": Score(0.1, 0.0, 0.3)}
    bounds = (Constraint("adherence", ">=", 0.95), Constraint("copies", "<=", 0.2), Constraint("unknown", ">", 1))
    found = cautious(scores, bounds)
    assert found == {"fd": scores["fd"], "adherence": Score(0.93), "copies": Score(0.3)}
    assert cautious({"adherence": Score(0.96)}, bounds)["adherence"].value == 0.96, "without an interval"
    best = trained(store, 2.0)
    store.facts["constraints"] = [["adherence", ">=", 0.95]]
    just = store.add(best.with_(number=-1, stage="sampling", source=best.number, config=CONFIG.with_(guidance=2.0)))
    safe = store.add(best.with_(number=-1, stage="sampling", source=best.number, config=CONFIG.with_(guidance=3.0)))
    for trial, fd, low in ((just, 1.0, 0.93), (safe, 2.0, 0.955)):
        rung = Rung(FULL, {"fd": Score(fd), "adherence": Score(low + 0.03, low, low + 0.06)}, 1.0)
        store.save(trial.with_(rungs=(rung,), state=TrialState.COMPLETE))
    better = plan(store)._sampling_search.better()
    assert better is not None
    assert better[1].number == safe.number


def test_the_second_wave_waits_for_the_first(store: Kept) -> None:
    trained(store)
    found = plan(store, workers=2)
    begun = [found.next_sampling()[0] for _ in range(FIRST)]
    for trial in begun[1:]:
        assert list(found.next_sampling()) == []
        score(store, trial, 1.0)
    assert list(found.next_sampling()) == []
    store.save(begun[0].with_(state=TrialState.CRASHED))
    assert len(found.next_sampling()) == 1


def test_without_weights_or_without_anything_to_vary_there_are_none(store: Kept) -> None:
    trained(store, state=TrialState.STOPPED)
    assert list(plan(store).next_sampling()) == []
    trained(store)
    assert list(plan(store, sampling_parameters=frozenset()).next_sampling()) == []
    assert list(plan(store, sampling_parameters=frozenset({"solver", "unknown"})).next_sampling()) == []
    assert len(plan(store).next_sampling()) == 1


def test_time_is_kept_for_them_and_for_the_finals_after_them(store: Kept) -> None:
    trained(store, role="recipe")
    trained(store)
    kept = plan(store, "200s", workers=2)._sampling_search.kept_seconds
    assert kept == (FIRST + SECOND) * 1.0 / 2
    assert plan(store, "40s")._sampling_search.kept_seconds == 4.0, "a tenth at most"
    # Six final trainings of 10 - 6 + 8 = 12 s on two workers, before 198 s.
    assert len(plan(store, "200s", 160.9, workers=2).next_sampling()) == 1
    assert list(plan(store, "200s", 161.1, workers=2).next_sampling()) == []
    # Ten such trainings, five of the recipe and five of the best, leave the search 138 s.
    assert plan(store, "200s", workers=2)._search_deadline() == 138.0 - kept


def test_drawings_are_no_trainings(store: Kept) -> None:
    """They count neither as trials nor as full trainings, and no strategy hears of them."""
    for _ in range(4):
        trained(store)
    before = {b: plan(store, b)._seeds_affordable([], [0, 1], 2) for b in ("16trials", "16full")}
    drawings(store, [1.0] * 12)
    assert {b: plan(store, b)._seeds_affordable([], [0, 1], 2) for b in before} == before
    found = plan(store)
    found.strategy.ask = lambda space, history, n, rng: [] if len(history.trials) == 4 else pytest.fail("it heard")
    assert found.next_search() == []


def test_what_is_told_names_values_as_people_write_them(store: Kept) -> None:
    source = trained(store)
    better = source.with_(number=7, config=source.config.with_(guidance=2.71828, steps=16))
    expected = "from the weights of trial 0 samples are better drawn with guidance 1.5 → 2.718, steps 8 → 16 (trial 7)"
    assert told(source, better) == expected
    assert SamplingSearch(plan(store).plan, cast(Any, store)).better() is None
