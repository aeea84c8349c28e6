"""Networks of others in files on this machine: what they hold, how they are read, and what to do where they cannot be.

Nothing is downloaded. Safetensors and TorchScript archives hold no code that Python would run; older `pytorch_model.bin` files
are read by transformers as weights only.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch and transformers publish partly unknown types; our own signatures stay strict.

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import warnings
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from maestune.errors import SettingsError

Pretrained = Literal["dinov2", "clip", "torchscript"]
NAMES = {"dinov2": "DINOv2", "clip": "CLIP", "torchscript": "a TorchScript network"}
TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt")


def digest_of(kind: Pretrained, path: Path) -> str:
    """SHA-256 of a network's file, or of the names and contents of the files that make a model of a folder.

    Raises SettingsError where they are not there.
    """
    if kind == "torchscript":
        if not path.is_file():
            raise SettingsError(
                f"features: {path} is not a file; expected a network in TorchScript, as torch.jit.save writes it. "
                "Give its path: --features torchscript:PATH."
            )
        return sha256_of([path])
    weights = sorted([*path.glob("*.safetensors"), *path.glob("pytorch_model*.bin")]) if path.is_dir() else []
    if not weights or not (path / "config.json").is_file():
        raise SettingsError(
            f"features: {path} is no folder with config.json and model.safetensors, as Hugging Face saves a model. "
            f"Download {NAMES[kind]} on a machine with a network, copy its folder, and give it: --features {kind}:FOLDER."
        )
    tokens = [path / name for name in TOKENIZER if kind == "clip" and (path / name).is_file()]
    return sha256_of([path / "config.json", *weights, *tokens])


def sha256_of(files: Sequence[Path]) -> str:
    """SHA-256 of a file, or of the names and contents of several; SettingsError where one cannot be read."""
    total = hashlib.sha256()
    for file in files:
        try:
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256")
        except OSError as error:
            raise SettingsError(f"{file} cannot be read ({error}). Check its permissions.") from error
        if len(files) == 1:
            return digest.hexdigest()  # what sha256sum prints
        total.update(file.name.encode() + digest.digest())
    return total.hexdigest()


def read_script(path: Path, device: str = "cpu") -> Any:
    """A network in TorchScript, in evaluation mode on a device; SettingsError where it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a format that is being replaced; what exists in it is still read
            return torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, OSError, ValueError) as error:
        raise SettingsError(
            f"features: {path} cannot be read as TorchScript ({last_line(error)}). Write it with torch.jit.save, or copy it again."
        ) from error


def takes_return_features(script: Any) -> bool:
    """Whether a network in TorchScript is called as the Inception of the StyleGAN repositories is."""
    return any(argument.name == "return_features" for argument in script.forward.schema.arguments)


def read_transformer(kind: Pretrained, path: Path) -> Any:
    """A model of Hugging Face in a folder, in evaluation mode; SettingsError where it cannot be read or is not whole."""
    library = hugging_face()
    made = library.Dinov2Model if kind == "dinov2" else library.CLIPModel
    try:
        with in_silence(library):
            model, told = made.from_pretrained(str(path), local_files_only=True, output_loading_info=True)
    except Exception as error:  # the library raises errors of many others, and of its own
        raise SettingsError(
            f"features: {path} cannot be read as {NAMES[kind]} ({type(error).__name__}: {last_line(error)}). "
            "Copy the folder again, or check that it holds that model."
        ) from error
    missing = sorted(map(str, told["missing_keys"]))
    if missing:
        raise SettingsError(
            f"features: {path} lacks weights of {NAMES[kind]} ({', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}); "
            "they would be random. Check that the folder holds that model."
        )
    return model.requires_grad_(False).eval()


def read_tokenizer(path: Path) -> Any:
    """The tokenizer of a CLIP folder; SettingsError where there is none or it cannot be read."""
    library = hugging_face()
    whole, *parts = TOKENIZER
    repair = f"Copy {whole}, or {' and '.join(parts)}, of the model into it."
    # Without its files the library makes an empty one, to which all words are alike.
    if not (path / whole).is_file() and not all((path / part).is_file() for part in parts):
        raise SettingsError(f"features: {path} has no tokenizer, so that CLIP cannot read captions. {repair}")
    try:
        return library.CLIPTokenizer.from_pretrained(str(path), local_files_only=True)
    except Exception as error:  # the library raises errors of many others, and of its own
        raise SettingsError(
            f"features: the tokenizer of {path} cannot be read ({type(error).__name__}: {last_line(error)}). {repair}"
        ) from error


@contextlib.contextmanager
def in_silence(library: Any) -> Generator[None]:
    """Without the library's progress bars, and its advice to its own users."""
    told = library.utils.logging
    shown, level = told.is_progress_bar_enabled(), told.get_verbosity()
    told.disable_progress_bar()
    told.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        told.set_verbosity(level)
        if shown:
            told.enable_progress_bar()


def hugging_face(what: str = "features: DINOv2 and CLIP", otherwise: str = "use --features auto") -> Any:
    """The transformers library; SettingsError naming the extra where it is not installed.

    `what`: who needs it. `otherwise`: what to do without it.
    """
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise SettingsError(
            f"{what} need the transformers library: pip install 'maestune[hf]'; or {otherwise}."
        ) from error


def read_json(file: Path) -> dict[str, Any]:
    """An object in a file; empty where there is no file, SettingsError where it cannot be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"features: {file} cannot be read as JSON ({last_line(error)}). Copy it again.") from error
    return found if isinstance(found, dict) else {}


def last_line(error: BaseException) -> str:
    """What an error says in the end, which is where libraries say what is wrong."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
