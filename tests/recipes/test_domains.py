import pytest
from recipe_spaces import names, spaces

from maestune.errors import SettingsError, SpaceError
from maestune.execution.model import FAMILIES
from maestune.recipes import apply_domain, domains, find_domain, unknown
from maestune.recipes.domains import Advice, Change, Domain, _domain
from maestune.space import Choice, Float, Int, Prior, Role, Space

by_name = pytest.mark.parametrize("domain", domains().values(), ids=lambda domain: domain.name)
SPACE = Space(
    (
        Choice("loss", ("ns", "hinge", "wgan"), prior=Prior("ns")),
        Float("lr", 1e-4, 1e-2, scale="log", prior=Prior(2e-3, "medium", "before")),
        Float("dropout", 0.05, 0.5, off=0.0, prior=Prior(0.0)),
        Choice("batch_size", (16, 32, 64), ordered=True, prior=Prior(64)),
        Int("width", 16, 64, prior=Prior(32), when={"loss": ("ns",)}),
        Choice("temperature", (0.8,), role=Role.SAMPLING),
        Choice("fixed", (3,)),
    )
)


def changed(advice=(), **changes):
    made = tuple(
        Change(parameter=name, reason="because", source="Me 2026", families=("gan",), **what)
        for name, what in changes.items()
    )
    return apply_domain(Domain("d", "D", "here", made, advice), SPACE, "gan")


def test_the_domains_of_the_catalogue():
    assert set(domains()) == {"medical", "art", "small-data", "large-data", "high-resolution", "text-small", "safety"}


@by_name
def test_domains_change_what_families_have(domain):
    assert domain.families
    assert set(domain.families) <= set(FAMILIES)
    for change in domain.changes:
        assert any(change.parameter in names(family) for family in change.families), change.parameter
        for family in change.families:
            params = [
                space[change.parameter] for _, space in spaces(family) if change.parameter in {p.name for p in space}
            ]
            words = [v for v in (change.centre, *change.values) if isinstance(v, str)]
            for word in words:
                assert not params or any(word in getattr(p, "values", ()) for p in params), (change.parameter, word)


@by_name
def test_every_domain_does_something_to_a_space_of_each_of_its_families(domain):
    for family in domain.families:
        results = [apply_domain(domain, space, family) for _, space in spaces(family)]
        assert any(found != space for (found, _), (_, space) in zip(results, spaces(family), strict=True)), family
        for found, notes in results:
            found.check(found.centre())
            assert all("(" in note or note in [a.text + "." for a in domain.advice] for note in notes)


@by_name
def test_reasons_have_sources(domain):
    assert unknown(domain.citations) == ()
    assert all(change.reason and change.source for change in domain.changes)


def test_medical_rates_end_lower_and_colours_stay():
    for spec, space in spaces("gan"):
        found, notes = apply_domain(find_domain("medical"), space, "gan")
        assert found["lr"].high == pytest.approx(0.4 * space["lr"].high), spec
        assert not [value for value in found["augment"].values if "colour" in value]
        assert found["penalty"].prior.centre == "r1"
        assert any("segmentation" in note for note in notes)


def test_ranges_are_narrowed_and_centres_follow():
    found, notes = changed(lr={"upper": 0.1})
    assert (found["lr"].low, found["lr"].high) == (1e-4, 1e-3)
    assert found["lr"].prior.centre == 1e-3
    assert notes == ("lr range 0.0001:0.001 instead of 0.0001:0.01, around 0.001 instead of 0.002: because (Me 2026).",)


def test_centres_move_by_a_factor_and_cite_both():
    found, _ = changed(lr={"factor": 2.0, "confidence": "low"})
    assert found["lr"].prior == Prior(4e-3, "low", "before; Me 2026")
    found, _ = changed(lr={"factor": 100.0})
    assert found["lr"].prior.centre == 1e-2


def test_a_factor_keeps_the_length_that_a_rate_is_known_from_and_a_new_centre_does_not():
    known = Float("lr", 1e-4, 1e-2, scale="log", prior=Prior(2e-3, steps=5000))
    for what, steps in (({"factor": 0.5}, 5000), ({"centre": 1e-3}, None)):
        change = Change(parameter="lr", reason="because", source="Me 2026", families=("gan",), **what)
        found, _ = apply_domain(Domain("d", "D", "here", (change,), ()), Space((known,)), "gan")
        assert (found["lr"].prior.centre, found["lr"].prior.steps) == (1e-3, steps)


def test_a_factor_leaves_alone_what_is_off():
    found, notes = changed(dropout={"factor": 2.0})
    assert found == SPACE
    assert notes == ()


def test_values_choices_and_conditions():
    found, _ = changed(
        dropout={"centre": 0.2},
        loss={"values": ("hinge", "wgan", "other"), "centre": "hinge"},
        width={"high": 32},
        batch_size={"centre": 20},
    )
    assert found["dropout"].prior == Prior(0.2, "medium", "Me 2026")
    assert found["loss"].values == ("hinge", "wgan")
    assert (found["width"].high, found["width"].when) == (32, {"loss": ("ns",)})
    assert found["batch_size"].prior.centre == 16
    assert found["dropout"].low == 0.05


def test_what_cannot_be_is_left_alone():
    found, notes = changed(
        loss={"centre": "unknown"}, lr={"centre": "word"}, fixed={"centre": 4}, missing={"centre": 1}
    )
    assert found == SPACE
    assert notes == ()


def test_choices_that_are_all_unknown_stay():
    assert changed(loss={"values": ("a", "b")})[0]["loss"].values == SPACE["loss"].values


def test_how_text_is_drawn_is_set():
    found, notes = changed(temperature={"centre": 0.6, "low": 0.3, "high": 0.7})
    assert found["temperature"].values == (0.6,)
    assert notes == ("temperature 0.6 instead of 0.8: because (Me 2026).",)


def test_advice_is_told_to_those_it_is_for():
    advice = (Advice("For all", "A 2020"), Advice("For texts", "B 2020", ("lm",)), Advice("Plain"))
    _, notes = changed(advice, lr={"upper": 0.5})
    assert notes[1:] == ("For all (A 2020).", "Plain.")


def test_domains_are_found_with_help_and_refuse_families_they_say_nothing_of():
    with pytest.raises(SettingsError, match="Did you mean medical"):
        find_domain("medicla")
    with pytest.raises(SettingsError, match="changes nothing of gan; it is for lm"):
        apply_domain(find_domain("safety"), SPACE, "gan")


def test_a_misspelt_key_of_a_domain_is_named():
    with pytest.raises(SpaceError, match="hihg"):
        _domain({"name": "d", "title": "D", "applies": "x", "changes": [{"parameter": "lr", "hihg": 1}]})
