"""What is trained next: groups of one structure, within the budget; finalists on the same seeds."""

import pytest

from agendas import FUSIBLE, RECIPE, RUNGS, SPACE, Kept, agenda
from maestune.campaign.agenda import Agenda
from maestune.campaign.budget import MAX_FINAL_SEEDS
from maestune.campaign.costs import EvaluationPlan
from maestune.execution.jobs import Progress
from maestune.space import Fusible, structure
from maestune.types import Proposal, Rung, Score, Trial, TrialState


def proposals(n, kind="a", noise=0.0, until=10):
    return [Proposal(RECIPE.with_(lr=1e-4 * (k + 2), kind=kind, noise=noise), until, "drawn") for k in range(n)]


@pytest.fixture
def store():
    return Kept()


def ended(store, trial, until=None, seconds=1.0, state=TrialState.PAUSED, value=1.0):
    rungs = tuple(Rung(s, {"fd": Score(value)}, seconds) for s in RUNGS if s <= (until or trial.until_steps))
    return store.save(trial.with_(state=state, rungs=rungs, seconds=seconds))


def tried(store, n, **values):
    """So many trials at the first rung."""
    for k in range(n):
        config = RECIPE.with_(lr=1e-5 * (k + 1))
        trial = store.add(Trial(-1, config, 0, "search", TrialState.RUNNING, 10, "drawn"))
        ended(store, trial, **values)


# The search -----------------------------------------------------------------------------------------------------------


def test_a_group_is_of_one_structure_and_of_one_length(store):
    tried(store, 2)
    plan = agenda(store)
    plan.strategy.next = [*proposals(3), *proposals(2, kind="b"), *proposals(2)]
    group = plan.next_search()
    assert plan.strategy.asked == [8]
    assert [t.number for t in group] == [2, 3, 4]
    assert len({structure(SPACE, t.config, FUSIBLE) for t in group}) == 1
    assert all(t.fused and t.state == TrialState.RUNNING and t.until_steps == 10 for t in group)
    assert store.trials[2:] == tuple(group)
    plan.strategy.next = [*proposals(1), *proposals(3, until=90)]
    (alone,) = plan.next_search()
    assert not alone.fused
    plan.strategy.next = [*proposals(2, noise=0.5), *proposals(3)]  # a switch that is on, and off
    assert [t.config["noise"] for t in plan.next_search()] == [0.5, 0.5]


def test_promotions_keep_their_numbers_and_go_on_together_from_one_rung(store):
    tried(store, 4)
    plan = agenda(store)
    plan.strategy.next = [Proposal(store.trials[k].config, 30, f"promoted {k}", parent=k) for k in (3, 1)]
    plan.strategy.next += proposals(2, until=30)  # as long, but from the beginning
    group = plan.next_search()
    assert [(t.number, t.until_steps, t.decision, t.reason) for t in group] == [
        (3, 30, "promoted 3", "drawn"),
        (1, 30, "promoted 1", "drawn"),
    ]
    assert len(store.trials) == 4


def test_asked_again_with_the_same_history_the_generator_is_the_same(store):
    tried(store, 3)
    drawn = []
    plan = agenda(store)
    plan.strategy.ask = lambda space, history, n, rng: drawn.append(rng.random()) or []
    assert [plan.next_search(), plan.next_search()] == [[], []]
    assert drawn[0] == drawn[1]
    tried(store, 1)
    plan.next_search()
    assert drawn[2] != drawn[0]


def test_members_of_one_are_groups_of_one(store):
    tried(store, 2)
    plan = agenda(store, members=1)
    plan.strategy.next = proposals(5)
    assert [len(plan.next_search()), plan.strategy.asked] == [1, [1]]
    assert not store.trials[-1].fused


def test_what_cannot_differ_is_not_grouped(store):
    tried(store, 2)
    plan = agenda(store, fusible=Fusible())
    plan.strategy.next = proposals(5)
    assert len(plan.next_search()) == 1


def test_the_search_has_no_more_new_trials_than_its_budget(store):
    tried(store, 20)
    plan = agenda(store, "40trials")  # of which the search has 24
    plan.strategy.next = proposals(8)
    assert len(plan.next_search()) == 4
    plan.strategy.next = proposals(8, kind="b")
    assert list(plan.next_search()) == []
    plan.strategy.next = [Proposal(store.trials[k].config, 30, "promoted", parent=k) for k in range(8)]
    assert len(plan.next_search()) == 8, "promotions are not counted"


def test_the_search_trains_no_more_than_its_budget_of_full_trainings(store):
    tried(store, 18)  # the worth of two
    plan = agenda(store, "10full")  # of which the search has 6
    plan.strategy.next = proposals(8, until=90)
    assert len(plan.next_search()) == 4
    plan.strategy.next = proposals(8, until=10)
    assert list(plan.next_search()) == []


def test_a_promotion_costs_only_what_is_added(store):
    tried(store, 33)  # 3.67 of 6; from step 10 to 90 are 0.89 each
    plan = agenda(store, "10full")
    plan.strategy.next = [Proposal(store.trials[k].config, 90, "promoted", parent=k) for k in range(8)]
    assert len(plan.next_search()) == 2


# The search has 96 s, a trial takes one; of a group of more than one there must be time for twice.
@pytest.mark.parametrize(("now", "n"), [(0.0, 8), (84.0, 6), (89.0, 3), (92.0, 2), (94.5, 1), (95.5, 0), (200.0, 0)])
def test_the_search_ends_by_the_clock(store, now, n):
    tried(store, 2, seconds=1.0)
    plan = agenda(store, "160s", now)
    plan.strategy.next = proposals(8)
    group = plan.next_search()
    assert len(group) == n
    assert not any(t.fused for t in group), "where the clock decides nothing can be repeated"


def test_the_search_leaves_time_for_the_finals(store):
    tried(store, 2, seconds=5.0)  # 45 s a full training, of which the finals need four
    plan = agenda(store, "300s", 117.0)
    plan.strategy.next = proposals(8)
    assert len(plan.next_search()) == 0
    plan = agenda(store, "300s", 112.0)
    plan.strategy.next = proposals(8)
    assert len(plan.next_search()) == 1


def evaluated_slowly():
    """Judging takes 2 s where a training goes on, 4 s at its end, 6 s in the finals."""
    return EvaluationPlan(RUNGS, screen=250, screen_seconds=2.0, full_seconds=4.0, final_seconds=6.0)


def test_what_judging_takes_does_not_grow_with_the_length_of_a_training(store):
    tried(
        store, 2, seconds=3.0
    )  # ten steps of 0.1 s, and 2 s of judging: a full training takes 9 s, and 6 s in the finals
    plan = agenda(store, "100s", 38.0, evaluation_plan=evaluated_slowly())
    plan.strategy.next = [
        Proposal(store.trials[0].config, 30, "promoted", parent=0)
    ]  # 2 s and 2 s of judging, before 100 - 2 - 4 * 15
    assert [t.number for t in plan.next_search()] == []
    plan = agenda(store, "110s", 38.0, evaluation_plan=evaluated_slowly())
    plan.strategy.next = [Proposal(store.trials[0].config, 30, "promoted", parent=0)]
    assert [t.number for t in plan.next_search()] == [0]


def test_a_promotion_is_expected_to_take_what_its_own_steps_took(store):
    tried(store, 8, seconds=1.0)
    slow = store.save(store.trials[7].with_(seconds=20.0))
    plan = agenda(store, "240s", 104.0)
    plan.strategy.next = [Proposal(slow.config, 30, "promoted", parent=7)]  # 40 s of the 17 that are left
    assert plan.next_search() == []
    plan.strategy.next = [Proposal(store.trials[6].config, 30, "promoted", parent=6)]
    assert [t.number for t in plan.next_search()] == [6]


def test_time_is_kept_for_the_finals_of_the_best_so_far(store):
    for k, seconds in enumerate((1.0, 1.0, 4.0)):
        tried(store, 1, seconds=seconds, value=3.0 - k)  # the last is the best, and the slowest
    store.save(store.trials[0].with_(role="recipe"))
    # 9 s and 36 s, three times each, on two workers are 72 s; of the rest a trial of 2 s may still be begun.
    for now, n in ((150.0 - 2 - 72 - 1.9, 0), (150.0 - 2 - 72 - 2.1, 1)):
        plan = agenda(store, "150s", now, workers=2)
        plan.strategy.next = proposals(1, kind="b")
        assert len(plan.next_search()) == n


def test_the_first_trials_are_begun_whatever_they_cost(store):
    plan = agenda(store, "1full")
    plan.strategy.next = [Proposal(RECIPE, 90, "recipe")]
    assert [t.role for t in plan.next_search()] == ["recipe"]


# Who is in the finals -------------------------------------------------------------------------------------------------


def scored(store, coverage, fd, until=90, state=TrialState.COMPLETE, role=""):
    """A search trial with these scores; no coverage where it is None."""
    trial = store.add(
        Trial(-1, RECIPE.with_(lr=1e-5 * (1 + len(store.trials))), 0, "search", state, until, "drawn", role=role)
    )
    told = {"fd": Score(fd)} | ({} if coverage is None else {"coverage": Score(coverage)})
    return store.save(trial.with_(rungs=tuple(Rung(s, told, 1.0) for s in RUNGS if s <= until))).number


def bounded(store, **values):
    store.facts["constraints"] = [["coverage", ">=", 0.4]]
    return agenda(store, "80trials", **values)


def test_finalists_are_chosen_among_those_within_the_bounds(store):
    recipe = scored(store, 0.1, 20.0, role="recipe")  # it may break them
    scored(store, 0.39, 1.0)
    within = [scored(store, 0.4, 5.0), scored(store, 0.9, 4.0)]
    scored(store, None, 0.5)
    scored(store, 0.9, 0.1, until=30, state=TrialState.STOPPED)  # within, but nobody knows what it would have become
    assert bounded(store).finalists()[0] == [recipe, *within[::-1]]
    store.facts["constraints"] = []
    assert agenda(store, "80trials").finalists()[0] == [recipe, 4, 1]


def test_of_those_within_the_bounds_there_may_be_only_one(store):
    recipe = scored(store, 0.1, 20.0, role="recipe")
    scored(store, 0.3, 1.0)
    within = scored(store, 0.4, 5.0)
    assert bounded(store).finalists()[0] == [recipe, within]


def test_where_none_is_within_the_bounds_the_nearest_are_finalists(store):
    recipe = scored(store, 0.1, 20.0, role="recipe")
    far, near, unknown = scored(store, 0.2, 1.0), scored(store, 0.3, 9.0), scored(store, None, 0.5)
    assert bounded(store).finalists()[0] == [recipe, near, far]
    assert unknown not in bounded(store).finalists()[0]


def fully_trained(store, seconds, fd, role=""):
    number = scored(store, 0.9, fd, role=role)
    return store.save(store.trials[number].with_(seconds=seconds)).number


def test_who_would_take_longer_than_there_is_time_is_no_finalist(store):
    recipe = fully_trained(store, 10.0, 9.0, role="recipe")
    slow, quick = fully_trained(store, 60.0, 1.0), fully_trained(store, 10.0, 2.0)
    chosen, note = agenda(store, "200s", 70.0, workers=2).finalists()  # 120 s of the slow one and the recipe in 128 s
    assert (chosen[:2], note) == ([recipe, slow], "")
    chosen, note = agenda(store, "200s", 148.0, workers=2).finalists()  # in 50 s
    assert chosen[:2] == [recipe, quick]
    assert f"trial {slow} was the best of the search" in note
    assert "1 min 10 s longer" in note
    assert f"trial {quick} is retrained in its place" in note
    chosen, note = agenda(store, "200s", 190.0, workers=2).finalists()  # nobody fits into 8 s: then the best after all
    assert (chosen[:2], note) == ([recipe, slow], "")


def test_there_are_as_many_candidates_as_can_have_five_seeds(store):
    recipe = fully_trained(store, 10.0, 9.0, role="recipe")
    first, second = fully_trained(store, 10.0, 1.0), fully_trained(store, 10.0, 2.0)
    assert agenda(store, "200s", 40.0).finalists()[0] == [recipe, first, second]  # 150 of 158 s
    assert agenda(store, "200s", 50.0).finalists()[0] == [recipe, first]


def test_who_is_hopeless_is_no_finalist_however_long_it_was_trained(store):
    recipe = fully_trained(store, 10.0, 9.0, role="recipe")
    fully_trained(store, 10.0, 151.0)
    promising = scored(store, 0.9, 5.83, until=30, state=TrialState.STOPPED)
    for budget in ("80trials", "400s"):
        assert agenda(store, budget).finalists() == ([recipe, promising], "")


def test_two_seeds_of_one_that_is_ahead_come_before_three_of_one_that_is_not(store):
    recipe = fully_trained(store, 10.0, 9.0, role="recipe")
    slow = fully_trained(store, 60.0, 1.0)
    quick = scored(store, 0.9, 9.0)  # as good as the recipe, and no better
    store.save(store.trials[quick].with_(seconds=10.0))
    # 120 s of the slow one and the recipe on three seeds, 70 s on two.
    assert agenda(store, "200s", 110.0, workers=2).finalists() == ([recipe, slow], "")
    assert agenda(store, "200s", 130.0, workers=2).finalists()[0] == [recipe, quick]
    better = fully_trained(store, 10.0, 2.0)
    chosen, note = agenda(store, "200s", 110.0, workers=2).finalists()  # three seeds of one as promising decide more
    assert chosen[:2] == [recipe, better]
    assert f"trial {better} is retrained in its place" in note
    assert slow not in chosen


def hopeless(store, recipe_seconds=9.0, n=1, until=10):
    """A recipe that was trained in full, and configs that are worse; returns the recipe's number."""
    recipe = fully_trained(store, recipe_seconds, 1.0, role="recipe")
    for _ in range(n):
        number = scored(store, 0.9, 2.0, until=until, state=TrialState.STOPPED)
        store.save(store.trials[number].with_(seconds=recipe_seconds * until / 90))
    return recipe


def test_where_nobody_is_promising_the_recipe_alone_is_final_and_a_note_says_how_much_ran(store):
    recipe = hopeless(store, n=9)
    chosen, note = agenda(store, "20trials").finalists()
    assert chosen == [recipe]
    assert note == "nothing better found: 10 configurations, 2 full trainings (budget 20 trials); try a larger --budget"
    failed = store.trials[recipe].with_(state=TrialState.DIVERGED)
    store.save(failed)
    assert len(agenda(store, "20trials").finalists()[0]) == 2, "nobody is hopeless beside a recipe that failed"


def test_without_any_score_there_are_no_finals(store):
    trial = store.add(Trial(-1, RECIPE, 0, "search", TrialState.CRASHED, 10, "", role="recipe"))
    store.save(trial)
    assert agenda(store).finalists() == ([], "")


@pytest.mark.parametrize(("budget", "n"), [("40trials", 24), ("20full", 12)])
def test_a_counted_budget_goes_back_to_the_search_but_for_two_seeds_of_two(store, budget, n):
    hopeless(store, n=n - 1, until=10 if budget == "40trials" else 90)
    plan = agenda(store, budget)
    until = 10 if budget == "40trials" else 90
    more = 0
    while True:
        plan.strategy.next = proposals(5, until=until)
        group = plan.next_search()
        if not group:
            break
        more += len(group)
        for trial in group:
            ended(store, trial, value=2.0)
    assert n + more == plan.plan.budget.amount - 4


def test_the_search_ends_as_soon_as_one_is_promising_and_waits_for_what_runs(store):
    hopeless(store, n=23)
    plan = agenda(store, "40trials")
    plan.strategy.next = proposals(2)
    group = plan.next_search()
    assert len(group) == 2
    plan.strategy.next = proposals(2, kind="b")
    assert list(plan.next_search()) == [], "they may turn out promising"
    ended(store, group[0], value=2.0)
    ended(store, group[1], value=0.5)
    assert list(plan.next_search()) == []
    ended(store, store.trials[group[1].number], value=2.0)
    assert len(plan.next_search()) == 2


def test_candidates_are_as_many_as_a_search_that_went_on_leaves_seeds_for(store):
    recipe = hopeless(store, n=33)
    better = [scored(store, 0.9, fd) for fd in (0.5, 0.6)]
    assert agenda(store, "60trials").finalists()[0] == [recipe, *better]
    assert agenda(store, "48trials").finalists()[0] == [recipe, better[0]]


def test_time_goes_back_to_the_search_while_nobody_is_promising(store):
    hopeless(store)
    plan = agenda(store, "200s")
    # Two final trainings of 9 s of the recipe and of one like it, before 198 s.
    assert plan._latest == 162.0
    for now, n in ((160.9, 1), (161.1, 0)):
        found = agenda(store, "200s", now)
        found.strategy.next = proposals(1, kind="b")
        assert len(found.next_search()) == n
    assert not agenda(store, "200s", 161.9).overdue
    assert agenda(store, "200s", 162.1).overdue
    number = scored(store, 0.9, 0.5, until=10, state=TrialState.PAUSED)
    store.save(store.trials[number].with_(seconds=1.0))
    assert plan._latest == 198.0 - 6 * 9.0
    assert plan._search_deadline() == 120.0, "five seeds of both would take more than two fifths"


@pytest.mark.parametrize(("budget", "seeds"), [("40trials", 5), ("6trials", 4), ("3trials", 2), ("400s", 5)])
def test_seeds_of_the_recipe_alone_are_what_the_budget_pays_for(store, budget, seeds):
    recipe = hopeless(store)
    store.facts.update(finals=[recipe])
    assert len(seeds_of(finals(agenda(store, budget)))[recipe]) == seeds


# The finals -----------------------------------------------------------------------------------------------------------


def finals(plan, seconds=1.0):
    """All groups of the finals, each ended before the next is asked for."""
    groups = []
    while group := plan.next_final():
        groups.append([(t.source, t.seed) for t in group])
        for trial in group:
            ended(plan.store, trial, seconds=seconds, state=TrialState.COMPLETE)
    return groups


def seeds_of(groups):
    found = {}
    for group in groups:
        for source, seed in group:
            found.setdefault(source, []).append(seed)
    return found


@pytest.mark.parametrize("members", [1, 2, 3, 8])
@pytest.mark.parametrize(("budget", "seeds"), [("40trials", 10), ("24trials", 7), ("12trials", 2), ("1trial", 2)])
def test_finalists_get_the_same_fresh_seeds_in_groups(store, members, budget, seeds):
    tried(store, 10)
    store.facts.update(finals=[0, 3])
    groups = finals(agenda(store, budget, members=members))
    found = seeds_of(groups)
    assert list(found) == [0, 3]
    assert found[0] == found[3]
    assert len(found[0]) == len(set(found[0])) == seeds
    assert all(len({source for source, _ in group}) == 1 for group in groups)
    assert max(map(len, groups)) == min(members, max(2, seeds - 2))
    assert len(found[0]) <= MAX_FINAL_SEEDS
    if budget != "1trial":
        assert len(store.trials) <= int(budget.removesuffix("trials")) + 2


@pytest.mark.parametrize("finalists", [[0, 3], [0, 2, 4]])
def test_finals_of_full_trainings_and_of_time_are_paired_as_well(store, finalists):
    tried(store, 10)
    store.facts.update(finals=finalists)
    found = seeds_of(finals(agenda(store, "20full", members=4)))
    assert len(set(map(tuple, found.values()))) == 1
    spent = sum(t.until_steps for t in store.trials) / 90
    assert 20 - len(finalists) < spent <= 20


@pytest.mark.parametrize(("now", "seeds"), [(0.0, 10), (60.0, 5), (92.0, 2), (200.0, 2)])
def test_finals_end_by_the_clock_but_never_before_two_seeds_each(store, now, seeds):
    tried(store, 4, seconds=1.0)
    store.facts.update(finals=[0, 3])
    found = seeds_of(finals(agenda(store, "100s", now, members=4), seconds=9.0))
    # After two each there is time for int(38 / 18) more of both at 60 s, and the clock of this test stands still.
    assert found[0] == found[3]
    assert len(found[0]) >= seeds if now == 60.0 else len(found[0]) == seeds


def test_what_still_runs_is_waited_for(store):
    tried(store, 4, seconds=1.0)
    store.facts.update(finals=[0])
    plan = agenda(store, "100s", 80.0, members=4)
    for _ in range(2):
        for trial in plan.next_final():
            ended(store, trial, seconds=9.0, state=TrialState.COMPLETE)
    begun = list(plan.next_final())  # of the 18 s left there is time for two
    while True:
        running = {t.number: Progress(t.number, 0, 0.0) for t in begun}
        more = list(Agenda(plan.plan, store, plan.strategy, plan.clock, running).next_final())
        if not more:
            break
        begun += more
    assert len(begun) == 2


def test_seeds_of_a_slow_finalist_go_to_several_workers(store):
    recipe, slow = fully_trained(store, 2.0, 9.0, role="recipe"), fully_trained(store, 20.0, 1.0)
    store.facts.update(finals=[recipe, slow])
    plan = agenda(store, "100s", 40.0, workers=2)  # a quarter of 58 s is less than a training of the slow one
    assert [(t.source, t.reason[-12:]) for t in plan.next_final()] == [
        (recipe, "fresh seed 1"),
        (recipe, "fresh seed 2"),
    ]
    assert [[t.source for t in plan.next_final()] for _ in range(2)] == [[slow], [slow]]
    counted = agenda(store, "60trials", workers=2)
    store.facts.update(finals=[slow])
    assert len(counted.next_final()) > 1, "where time does not decide they are trained as one"


# Five seeds of the recipe and five of the best, by two workers: 27 s, which is less than a fifth; 45 s; more than two fifths.
@pytest.mark.parametrize(("seconds", "ends"), [(1.0, 160.0), (9.0, 200.0 - 2.0 - 45.0), (30.0, 120.0)])
def test_quick_finals_leave_the_search_more_time(store, seconds, ends):
    fully_trained(store, 9.0, 9.0, role="recipe")
    fully_trained(store, seconds, 1.0)
    assert agenda(store, "200s", workers=2, finalists=1)._search_deadline() == pytest.approx(ends)


def test_without_finalists_there_are_no_finals(store):
    store.facts.update(finals=[])
    assert list(agenda(store).next_final()) == []
