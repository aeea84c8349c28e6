"""Checkpoints come back as they were, or not at all."""

from __future__ import annotations

import math
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from maestune.errors import CheckpointError, StoreError
from maestune.training.checkpoint import FORMAT, _checksum, load_checkpoint, save_checkpoint


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


DTYPES = [torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool, torch.bfloat16]
tensors = st.builds(
    lambda shape, dtype: (torch.arange(math.prod(shape)).reshape(shape) % 2).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(DTYPES),
)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5), tensors
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=4), st.integers()), inner, max_size=3),
    ),
    max_leaves=12,
)


@given(state=st.dictionaries(st.text(max_size=4), trees, max_size=4))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_every_state_comes_back(tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("checkpoint") / "c.safetensors"
    save_checkpoint(path, state)
    assert same(load_checkpoint(path), state)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_tensors_that_share_memory_are_stored_apart(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    state = {"a": base, "b": base[2:], "c": base.view(2, 3).t(), "d": base}
    save_checkpoint(tmp_path / "c", state)
    back = load_checkpoint(tmp_path / "c")
    assert same(back, {**state, "c": state["c"].contiguous()})
    back["a"].zero_()
    assert back["d"].sum() == 15


def test_an_optimisers_state_comes_back(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimiser = torch.optim.Adam([parameter])
    parameter.grad = torch.ones(3)
    optimiser.step()
    save_checkpoint(tmp_path / "c", optimiser.state_dict())
    assert same(load_checkpoint(tmp_path / "c"), optimiser.state_dict())


@pytest.mark.parametrize(
    ("state", "place"),
    [
        ({"a": [1, {"b": object()}]}, r"state\['a'\]\[1\]\['b'\]: a object cannot"),
        ({"a": {1.5: 0}}, r"state\['a'\]: key 1.5 is a float"),
        ({True: 0}, "key True is a bool"),
        ({"s": torch.eye(2).to_sparse()}, r"state\['s'\]: a tensor with layout"),
    ],
)
def test_what_cannot_be_stored_is_named_with_its_place(tmp_path: Path, state: dict[Any, Any], place: str) -> None:
    with pytest.raises(CheckpointError, match=place):
        save_checkpoint(tmp_path / "c", state)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "state.safetensors"
    save_checkpoint(path, {"weights": torch.arange(100.0), "step": 3, "nested": {0: (1, "x")}})
    return path


def test_a_checkpoint_cut_anywhere_is_an_error_that_names_the_file(written: Path) -> None:
    content = written.read_bytes()
    for length in [0, 1, 7, 8, 9, 40, len(content) // 2, len(content) - 1]:
        written.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"state\.safetensors.*truncated or damaged.*Delete it"):
            load_checkpoint(written)


def test_a_changed_byte_anywhere_is_found(written: Path) -> None:
    content = written.read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 0x10
        written.write_bytes(bytes(changed))
        with pytest.raises(CheckpointError, match=r"state\.safetensors"):
            load_checkpoint(written)


def test_a_file_of_another_program_and_a_missing_one_are_named(tmp_path: Path) -> None:
    save_file({"0": torch.ones(2)}, tmp_path / "other")
    with pytest.raises(CheckpointError, match="other: not a checkpoint of this program"):
        load_checkpoint(tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"gone: the checkpoint cannot be read: No such file"):
        load_checkpoint(tmp_path / "gone")


def test_a_disk_that_refuses_leaves_the_old_checkpoint_and_no_rubbish(written: Path) -> None:
    # The limit on a file's size is the full disk that a test can have.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StoreError, match=rf"cannot be written to {written.parent}.*MB free.*--out"):
            save_checkpoint(written, {"weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert load_checkpoint(written)["step"] == 3
    assert [p.name for p in written.parent.iterdir()] == [written.name]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot be written to .*nowhere"):
        save_checkpoint(tmp_path / "nowhere" / "c", {})


@pytest.mark.parametrize(
    "structure",
    ["5", "[]", '["list", []]', '["tensor", "9"]', "[[[]]]", "[" * 3_000 + "]" * 3_000, "[" * 200_000, '"x"'],
)
def test_a_hostile_structure_is_an_error_that_names_the_file(tmp_path: Path, structure: str) -> None:
    path = tmp_path / "c.safetensors"
    metadata = {"format": FORMAT, "structure": structure, "checksum": _checksum(structure, ())}
    path.write_bytes(save({}, metadata))
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("header", [b"[]", b"5", b'{"__metadata__": 5}', b"[" * 100_000])
def test_a_hostile_header_is_an_error_that_names_the_file(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match=r"c\.safetensors"):
        load_checkpoint(path)
