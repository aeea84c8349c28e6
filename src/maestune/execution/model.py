"""What is trained: one of our families by name, or the user's own training by `path.py:function`."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor

from maestune.data import ImageData
from maestune.errors import SettingsError, did_you_mean
from maestune.families.base import Family, Recipe, Shape
from maestune.families.gan import GAN, RECIPES
from maestune.space import Space
from maestune.training.loop import family_training
from maestune.training.run import Training
from maestune.types import Config

FAMILIES: Mapping[str, type[Family]] = {"gan": GAN}


GUARD_NEEDED = (
    "A campaign was started while its own training was being loaded. In a script that holds both the training and the "
    "call, put the call under: if __name__ == '__main__':"
)
_loading: set[str] = set()  # files being executed right now


@dataclass(frozen=True)
class OwnTraining:
    """A user's training and what its file says about it: `space`; optionally `data`, `objective`, `full_steps`, `generate`."""

    training: Training
    space: Space
    data: str | None
    objectives: tuple[str, ...]
    full_steps: int | None
    generate: Callable[[Config, Any, int, torch.Generator], Tensor] | None = None


def is_own(model: str) -> bool:
    """Whether a model is the user's own training rather than a family."""
    return ":" in model or model.endswith(".py")


def family(model: str) -> Family:
    """A family by its name."""
    if model not in FAMILIES:
        raise SettingsError(
            f"Unknown model {model!r}. {did_you_mean(model, FAMILIES)} Your own training is named path/to/file.py:function."
        )
    return FAMILIES[model]()


def load_training(model: str) -> Training:
    """The training generator of a model."""
    return load_own(model).training if is_own(model) else family_training(family(model))


def recipe_of(model: str) -> Recipe | None:
    """The published recipe at the centre of a family's default space."""
    return None if is_own(model) else RECIPES["dcgan"]


def load_own(model: str) -> OwnTraining:
    """A user's training from its file. Raises SettingsError that says what the file lacks."""
    path_text, _, name = model.partition(":")
    name = name or "train"
    module = _load_file(Path(path_text))
    training = getattr(module, name, None)
    if not callable(training):
        functions = [k for k, v in vars(module).items() if callable(v) and not k.startswith("_")]
        raise SettingsError(f"{path_text} has no function {name!r}. {did_you_mean(name, functions)}")
    space = getattr(module, "space", None)
    if not isinstance(space, Space):
        raise SettingsError(
            f"{path_text} has no `space`; define what may vary beside the training, for example "
            'space = maestune.Space((maestune.Float("lr", 1e-5, 1e-2, scale="log"),)).'
        )
    objective = getattr(module, "objective", ())
    return OwnTraining(
        training=cast(Training, training),
        space=space,
        data=getattr(module, "data", None),
        objectives=(objective,) if isinstance(objective, str) else tuple(objective),
        full_steps=getattr(module, "full_steps", None),
        generate=getattr(module, "generate", None),
    )


def own_model_name(training: Any) -> str | None:
    """`path.py:function` of a training defined in a file, None where there is no file (a notebook, an inner function)."""
    file = getattr(sys.modules.get(training.__module__), "__file__", None)
    if file is None or "<" in training.__qualname__ or "." in training.__qualname__:
        return None
    return f"{Path(file).resolve()}:{training.__qualname__}"


def image_shape(data: ImageData | None) -> Shape:
    """(C, H, W) of the data; raises SettingsError where a family was given none."""
    if data is None:
        raise SettingsError("This model learns from images, but no data was given; use --data digits or --data PATH.")
    return data.shape


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
