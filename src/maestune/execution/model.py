"""What is trained: a family of ours by name, or by `path.py:name` a family or a training of the user's own."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor

from maestune.data import Data, DataSpec
from maestune.errors import SettingsError, did_you_mean
from maestune.families.base import Family
from maestune.families.flow import Flow
from maestune.families.gan import GAN
from maestune.families.lm import LM
from maestune.families.vae import VAE
from maestune.recipes import Recipe, find
from maestune.space import Space
from maestune.training.loop import family_training
from maestune.training.run import Training
from maestune.types import Config

FAMILIES: Mapping[str, Callable[[], Family]] = {"gan": GAN, "vae": VAE, "lm": LM, "flow": Flow}


GUARD_NEEDED = (
    "A campaign was started while its own training was being loaded. In a script that holds both the training and the "
    "call, put the call under: if __name__ == '__main__':"
)
_loading: set[str] = set()  # files being executed right now


@dataclass(frozen=True)
class UserTraining:
    """What a user's file says: a training with its `space`, and optionally `data`, `objective`, `full_steps`, `generate`.

    Where it is a `family`, that says the rest: space and length by the shape of the images.
    """

    training: Training
    space: Space | None
    data: str | None
    objectives: tuple[str, ...]
    full_steps: int | None
    generate: Callable[[Config, Any, int, torch.Generator], Tensor] | None = None
    family: Family | None = None


def is_user_model(model: str) -> bool:
    """Whether a model is from a user's file."""
    return ":" in model or model.endswith(".py")


def is_family(thing: object) -> TypeGuard[Family]:
    """Whether something is a family rather than a training."""
    # A class has the same attributes as its instances, but cannot be asked.
    return not isinstance(thing, type) and all(callable(getattr(thing, name, None)) for name in _FAMILY_METHODS)


_FAMILY_METHODS = ("space", "full_steps", "build", "players", "hyper", "latents", "generate", "signals")


def built_in_family(model: str) -> Family:
    """A family of ours by its name."""
    if model not in FAMILIES:
        raise SettingsError(
            f"Unknown model {model!r}. {did_you_mean(model, FAMILIES)} Your own training is named path/to/file.py:function."
        )
    return FAMILIES[model]()


def family_of(model: str) -> Family | None:
    """The family of a model, ours or a user's; None for a training that is a generator of reports."""
    return load_user_model(model).family if is_user_model(model) else built_in_family(model)


def load_training(model: str) -> Training:
    """The training generator of a model."""
    return load_user_model(model).training if is_user_model(model) else family_training(built_in_family(model))


def recipe_of(model: str) -> Recipe | None:
    """The published recipe at the centre of a family's default space."""
    if is_user_model(model):
        return None
    family = built_in_family(model)
    return find(family.recipe, family.name) if family.recipe else None


def load_user_model(model: str) -> UserTraining:
    """A user's training or family from its file. Raises SettingsError that says what the file lacks."""
    path_text, _, name = model.partition(":")
    name = name or "train"
    module = _load_file(Path(path_text))
    training = getattr(module, name, None)
    if is_family(training):
        return user_family(training)
    if not callable(training):
        named = [k for k, v in vars(module).items() if (callable(v) or is_family(v)) and not k.startswith("_")]
        raise SettingsError(f"{path_text} has no function or family {name!r}. {did_you_mean(name, named)}")
    space = getattr(module, "space", None)
    if not isinstance(space, Space):
        raise SettingsError(
            f"{path_text} has no `space`; define what may vary beside the training, for example "
            'space = maestune.Space((maestune.Float("lr", 1e-5, 1e-2, scale="log"),)).'
        )
    objective = getattr(module, "objective", ())
    return UserTraining(
        training=cast(Training, training),
        space=space,
        data=getattr(module, "data", None),
        objectives=(objective,) if isinstance(objective, str) else tuple(objective),
        full_steps=getattr(module, "full_steps", None),
        generate=getattr(module, "generate", None),
    )


def user_family(family: Family) -> UserTraining:
    """A user's family as what is trained; it may say by `data` and `objectives` what to learn from and be evaluated by."""
    return UserTraining(
        training=family_training(family),
        space=None,
        data=getattr(family, "data", None),
        objectives=getattr(family, "objectives", ()),
        full_steps=None,
        family=family,
    )


def user_model_name(model: Any) -> str | None:
    """`path.py:name` of a training or family defined in a file, None where there is no file (a notebook, an inner function)."""
    if is_family(model):
        return _name_of_object(model)
    file = getattr(sys.modules.get(model.__module__), "__file__", None)
    if file is None or "<" in model.__qualname__ or "." in model.__qualname__:
        return None
    return f"{Path(file).resolve()}:{model.__qualname__}"


def _name_of_object(thing: object) -> str | None:
    # An object does not know where it was defined: it is looked for in the modules, the script that runs among the first.
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file is not None and file.endswith(".py"):
            for name, value in list(vars(module).items()):
                if value is thing:
                    return f"{Path(file).resolve()}:{name}"
    return None


def spec_for(family: Family, data: Data | None) -> DataSpec:
    """What a family's networks are built for; raises SettingsError where it was given no data, or such as it cannot use."""
    if data is None:
        raise SettingsError(f"{family.name} learns from data, but none was given; use --data PATH, or a built-in set.")
    family.check(data.spec)
    return data.spec


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise SettingsError(f"No file {path}; a training of your own is named path/to/file.py:function.")
    # Named after its path, so that two files of the same name do not meet; its folder can be imported from, as with python.
    module_name = f"maestune_own_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if module_name in _loading:
        raise SettingsError(GUARD_NEEDED)
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"{path} cannot be loaded as Python; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    _loading.add(module_name)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(module_name, None)
        raise SettingsError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        _loading.discard(module_name)
    return module
