"""Checkpoints: nested plain data and tensors as one safetensors file, without pickle.

The tensors lie in the file under running numbers; the structure around them is JSON in its metadata, with a checksum
of both. A checkpoint is whole or not there: it is written beside its place and then moved.
"""

from __future__ import annotations

import base64
import binascii
import json
import shutil
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from maestune.errors import CheckpointError, StoreError
from maestune.folder_files import replace_file

FORMAT = "maestune-checkpoint-1"


def save_checkpoint(path: Path, state: Mapping[Any, Any]) -> None:
    """Write nested dicts (keys: text or whole numbers), lists and tuples of tensors, numbers, text, bytes and None.

    Raises CheckpointError, naming the place, for anything else, and StoreError when the disk refuses. Afterwards the
    file is the new checkpoint or what it was before, never a part.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_encode(state, "state", tensors))
    metadata = {"format": FORMAT, "structure": structure, "checksum": _checksum(structure, tensors.values())}
    try:
        content = safetensors.torch.save(tensors, metadata)
    except (KeyError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{path}: a tensor of the state cannot be stored: {error}") from error
    try:
        replace_file(path, content)
    except OSError as error:
        raise StoreError(
            f"The checkpoint of {len(content) / 1e6:.1f} MB cannot be written to {path.parent}: {error.strerror or error}"
            f"{_free_space(path.parent)}. Make room, or choose another folder with --out."
        ) from error


def load_checkpoint(path: Path) -> dict[Any, Any]:
    """Read back what `save_checkpoint` wrote, tensors on the CPU.

    Raises CheckpointError when the file is missing, truncated, altered or not one of ours.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: the checkpoint cannot be read: {error.strerror or error}.") from error
    try:
        metadata = _metadata(content)
        if metadata.get("format") != FORMAT:
            raise CheckpointError(f"{path}: not a checkpoint of this program (format {metadata.get('format')!r}).")
        tensors = safetensors.torch.load(content)
        structure = metadata["structure"]
        ordered = [tensors[str(i)] for i in range(len(tensors))]
        if _checksum(structure, ordered) != metadata["checksum"]:
            raise ValueError("the checksum differs")
        state = _decode(json.loads(structure), tensors)
        if not isinstance(state, dict):
            raise ValueError("it holds no named state")
        return state
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        struct.error,
        binascii.Error,
        SafetensorError,
    ) as error:
        raise CheckpointError(
            f"{path}: the checkpoint is truncated or damaged ({error}). Delete it; the trial then starts again."
        ) from error


def _encode(node: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """The node as JSON: scalars as they are, everything else as [kind, content]; tensors are collected aside."""
    if node is None or isinstance(node, bool | int | float | str):
        return node
    if isinstance(node, Tensor):
        if node.layout is not torch.strided:
            raise CheckpointError(f"{place}: a tensor with layout {node.layout} cannot be stored; make it dense.")
        number = str(len(tensors))
        # Copied, since tensors that share memory cannot be told apart in the file.
        tensors[number] = node.detach().to("cpu", copy=True).contiguous()
        return ["tensor", number]
    if isinstance(node, Mapping):
        for key in node:
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise CheckpointError(f"{place}: key {key!r} is a {type(key).__name__}; keys must be text or int.")
        return ["dict", [[key, _encode(value, f"{place}[{key!r}]", tensors)] for key, value in node.items()]]
    if isinstance(node, list | tuple):
        kind = "list" if isinstance(node, list) else "tuple"
        return [kind, [_encode(value, f"{place}[{i}]", tensors) for i, value in enumerate(node)]]
    if isinstance(node, bytes):
        return ["bytes", base64.b64encode(node).decode("ascii")]
    raise CheckpointError(
        f"{place}: a {type(node).__name__} cannot be stored in a checkpoint; "
        "use tensors, numbers, text, bytes, None, and dicts, lists or tuples of them."
    )


def _decode(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(node, list):
        return node
    kind, content = node
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _decode(value, tensors) for key, value in content}
    if kind == "list":
        return [_decode(value, tensors) for value in content]
    if kind == "tuple":
        return tuple(_decode(value, tensors) for value in content)
    if kind == "bytes":
        return base64.b64decode(content, validate=True)
    raise ValueError(f"unknown kind {kind!r}")


def _checksum(structure: str, tensors: Iterable[Tensor]) -> str:
    # safetensors checks the length of a file, not its content; a CRC finds the rest at gigabytes a second.
    value = zlib.crc32(structure.encode())
    for tensor in tensors:
        value = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, value)
    return f"{value:08x}"


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata in the header of a safetensors file: 8 bytes of length (little endian), then JSON."""
    (length,) = struct.unpack_from("<Q", content)
    if length > len(content) - 8:
        raise ValueError("the header is cut off")
    header = json.loads(content[8 : 8 + length])
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def _free_space(folder: Path) -> str:
    try:
        return f" ({shutil.disk_usage(folder).free / 1e6:.1f} MB free)"
    except OSError:
        return ""
