"""A recipe: a published setting with its citation, and how it is read from and written as TOML.

A file holds `name`, `title`, `family`, `citation`, `confidence`, and [settings], values under our parameter names; a value
may be a rule of `rules.py`, as `{ rule = "..." }`. Where ours and the published parameter differ, [units] says how the one
was made of the other; [beyond] names what our parameters cannot say. [networks.mlp] has what is different where networks are
dense, and so on for every kind. [data] tells what it was published for, [[reported]] what it reached there.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from maestune.errors import SettingsError, did_you_mean
from maestune.recipes.rules import RULES
from maestune.recipes.writing import toml_text
from maestune.space import Prior
from maestune.space.params import Confidence
from maestune.types import Config, Value

CONFIDENCES: Mapping[Confidence, str] = {
    "high": "read in the authors' own code",
    "medium": "read in a repetition by others, or told by a third party",
    "low": "from memory, not seen",
}

SIZES = ("width", "depth")
"""Parameters whose numbers mean something else for another kind of networks: channels or units, stages or layers."""


@dataclass(frozen=True)
class Published:
    """What a recipe was published for: the data set, its side in pixels (or context in tokens), its size, the length."""

    set: str = ""
    side: int | None = None  # pixels
    size: int | None = None  # images, or tokens
    length: str = ""  # of a full training
    steps: int | None = None  # the same in updates (of a GAN's discriminator), where it is told or follows


@dataclass(frozen=True)
class Reported:
    """A result as published: of which metric, on which data, and how surely it is known."""

    metric: str
    value: float
    data: str = ""
    confidence: Confidence = "high"


@dataclass(frozen=True)
class Recipe:
    """A published setting (or one that a campaign found), with its citation.

    `settings`: values by our parameter names; a recipe need not speak of all. `networks`: what is different for other
    kinds of networks than its own. `rules`: parameters whose value follows from the data and the other values, by the
    name of the rule. `doubtful`: settings known less surely than the
    recipe's `confidence`. `related`: citations of what it rests on. `bibtex`: entries beyond our bibliography.
    """

    name: str
    title: str
    family: str
    settings: Config
    citation: str
    confidence: Confidence = "high"
    rules: Mapping[str, str] = field(default_factory=dict[str, str])
    networks: Mapping[str, Config] = field(default_factory=dict[str, Config])
    doubtful: tuple[str, ...] = ()
    applies: str = ""
    source: str = ""
    notes: str = ""
    result: str = ""
    related: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict[str, str])
    beyond: Mapping[str, str] = field(default_factory=dict[str, str])
    data: Published = field(default_factory=Published)
    reported: tuple[Reported, ...] = ()
    bibtex: str = field(default="", repr=False)

    @property
    def citations(self) -> tuple[str, ...]:
        """Its own citation and those of what it rests on."""
        return (self.citation, *self.related)

    def on(self, network: str) -> Config:
        """The settings for a kind of networks: for another than its own, without the sizes that are of its own."""
        values = dict(self.settings)
        if self.settings.get("network", network) != network:
            values = {name: value for name, value in values.items() if name not in SIZES} | {"network": network}
        return Config.of(values, **self.networks.get(network, Config(())))

    def prior(self, name: str, centre: Value | None = None) -> Prior:
        """What is believed of a parameter because of this recipe; `centre` where its own value cannot be used.

        A value that was seen in the authors' code is still one for other data: it is believed with medium confidence,
        everything else with low.
        """
        sure = self.confidence == "high" and name not in self.doubtful
        steps = self.data.steps if name == "lr" else None
        return Prior(
            self.settings[name] if centre is None else centre, "medium" if sure else "low", self.citation, steps
        )

    @staticmethod
    def from_toml(text: str, where: str = "the recipe") -> Recipe:
        """A recipe from TOML; raises SettingsError naming what is wrong with it, and `where`."""
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{where} is not valid TOML: {error}") from error
        return _from_dict(data, where)

    def to_toml(self) -> str:
        """The recipe as TOML; `from_toml` reads it back."""
        data: dict[str, Any] = {
            "name": self.name,
            "title": self.title,
            "family": self.family,
            "citation": self.citation,
            "confidence": self.confidence,
        }
        optional = ("related", "doubtful", "applies", "source", "result", "notes", "bibtex")
        data |= {name: getattr(self, name) for name in optional if getattr(self, name)}
        data["settings"] = dict(self.settings)
        if self.networks:
            data["networks"] = {network: dict(settings) for network, settings in self.networks.items()}
        tables = {"rules": self.rules, "units": self.units, "beyond": self.beyond, "data": _told(self.data)}
        data |= {name: dict(table) for name, table in tables.items() if table}
        if self.reported:
            data["reported"] = [_told(reported) for reported in self.reported]
        return toml_text(data) + "\n"


def recipe_from(
    config: Config,
    family: str,
    data_text: str,
    result: str = "",
    citations: Sequence[str] = (),
    *,
    name: str = "found",
    title: str = "",
    steps: int | None = None,
) -> str:
    """What a campaign found, as the TOML of a recipe that `--recipe path.toml` reads.

    `family`: what was tuned; `data_text`: one line describing the data; `result`: the verdict in a sentence; `citations`:
    what the configuration rests on; `steps`: the length of its trainings.
    """
    told = " ".join(data_text.split())
    return Recipe(
        name=name,
        title=title or f"{family} tuned on {told}",
        family=family,
        settings=config,
        citation=f"found by a campaign of maestune on {told}",
        applies=told,
        result=" ".join(result.split()),
        related=tuple(dict.fromkeys(citations)),
        data=Published(set=told, steps=steps),
    ).to_toml()


def _told(thing: Published | Reported) -> dict[str, Any]:
    return {name: value for name, value in vars(thing).items() if value not in ("", None)}


_KEYS = ("name", "title", "family", "citation", "settings")
_TEXTS = ("applies", "source", "notes", "result", "bibtex")
_TABLES = ("rules", "units", "beyond")
_KNOWN = (*_KEYS, *_TEXTS, *_TABLES, "confidence", "related", "doubtful", "data", "reported", "networks")


def _from_dict(data: Mapping[str, Any], where: str) -> Recipe:
    for key in data:
        if key not in _KNOWN:
            raise SettingsError(f"{where}: unknown key {key!r}. {did_you_mean(key, _KNOWN)}")
    for key in _KEYS:
        if key not in data:
            raise SettingsError(
                f"{where}: {key!r} is missing; a recipe has {', '.join(_KEYS)}. From a campaign's folder one is made by: "
                "maestune recipes --from FOLDER --save FILE.toml"
            )
    settings, rules = _settings(_table(data["settings"], "settings", where), where)
    rules |= {name: _text(rule, f"rules.{name}", where) for name, rule in _get_table(data, "rules", where).items()}
    for name, rule in rules.items():
        if rule not in RULES:
            raise SettingsError(f"{where}: {name} follows the rule {rule!r}. {did_you_mean(rule, RULES)}")
        if name in settings:
            raise SettingsError(f"{where}: {name} has both a value and a rule; keep one of them.")
    known = {*settings, *rules}
    doubtful = _texts(data, "doubtful", where)
    for name in doubtful:
        if name not in known:
            raise SettingsError(f"{where}: doubtful names {name!r}, which is no setting. {did_you_mean(name, known)}")
    texts = {name: _text(data[name], name, where) for name in (*_KEYS[:-1], *_TEXTS) if name in data}
    tables = {name: _word_table(data, name, where) for name in ("units", "beyond")}
    values: dict[str, Any] = {**texts, **tables}
    return Recipe(
        settings=Config.of(settings),
        rules=rules,
        networks={
            network: Config.of(_settings(_table(values, f"networks.{network}", where), where)[0])
            for network, values in _get_table(data, "networks", where).items()
        },
        confidence=_confidence(data.get("confidence", "high"), where),
        related=_texts(data, "related", where),
        doubtful=doubtful,
        data=_record(Published, _get_table(data, "data", where), "data", where),
        reported=tuple(
            _record(Reported, _table(r, "reported", where), "reported", where)
            for r in _list(data.get("reported", []), "reported", where)
        ),
        **values,
    )


def _settings(table: Mapping[str, Any], where: str) -> tuple[dict[str, Value], dict[str, str]]:
    settings: dict[str, Value] = {}
    rules: dict[str, str] = {}
    for name, value in table.items():
        if isinstance(value, Mapping) and set(value) == {"rule"}:
            rules[name] = _text(value["rule"], f"settings.{name}.rule", where)
        elif isinstance(value, str | int | float | bool) and not _endless(value):
            settings[name] = value
        else:
            raise SettingsError(
                f'{where}: settings.{name} is {value!r}; a finite number, a text, true, false, or {{ rule = "..." }} is needed.'
            )
    return settings, rules


def _endless(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


Kind = TypeVar("Kind", Published, Reported)


def _record(kind: Callable[..., Kind], table: Mapping[str, Any], what: str, where: str) -> Kind:
    known: dict[str, type] = {"set": str, "side": int, "size": int, "length": str, "steps": int}
    if what == "reported":
        known = {"metric": str, "value": float, "data": str, "confidence": str}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise SettingsError(f"{where}: unknown key {what}.{key}. {did_you_mean(key, known)}")
        fits = isinstance(value, int | float) if known[key] is float else isinstance(value, known[key])
        if not fits or isinstance(value, bool):
            raise SettingsError(f"{where}: {what}.{key} is {value!r}; {_IN_WORDS[known[key]]} is needed.")
        values[key] = float(value) if known[key] is float else value
    if "confidence" in values:
        values["confidence"] = _confidence(values["confidence"], where)
    try:
        return kind(**values)
    except TypeError as error:
        raise SettingsError(
            f"{where}: [[{what}]] needs metric and value; got {', '.join(table) or 'nothing'}."
        ) from error


_IN_WORDS: Mapping[type, str] = {str: "a text", int: "a whole number", float: "a number"}


def _confidence(value: object, where: str) -> Confidence:
    if value not in CONFIDENCES:
        raise SettingsError(f"{where}: confidence {value!r} is none of {', '.join(CONFIDENCES)}.")
    return cast(Confidence, value)


def _text(value: object, key: str, where: str) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{where}: {key} is {value!r}; a text is needed.")
    return value


def _list(value: object, key: str, where: str) -> list[object]:
    if not isinstance(value, list):
        raise SettingsError(f"{where}: {key} is {value!r}; a list is needed.")
    return cast("list[object]", value)


def _texts(data: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    return tuple(_text(text, key, where) for text in _list(data.get(key, []), key, where))


def _table(value: object, key: str, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{where}: {key} is {value!r}; a table ([{key}]) is needed.")
    return cast("Mapping[str, Any]", value)


def _get_table(data: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    return _table(data.get(key, {}), key, where)


def _word_table(data: Mapping[str, Any], key: str, where: str) -> dict[str, str]:
    return {name: _text(text, f"{key}.{name}", where) for name, text in _get_table(data, key, where).items()}
