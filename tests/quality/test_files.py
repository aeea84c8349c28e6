import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from maestune.errors import StoreError
from maestune.quality.network_store import file_of, mark_of, read, state, write

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3).T, "a.bias": torch.ones(2), "b.weight": torch.zeros(1)}


def _everything(tensors: dict[str, Tensor], about: dict[str, object]) -> tuple[dict[str, Tensor], dict[str, object]]:
    return tensors, about


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.safetensors"
    write(path, "The network", TENSORS, {"name": "ü", "shape": (1, 2)})
    found = read(path, _everything)
    assert found is not None
    assert found[1] == {"name": "ü", "shape": [1, 2]}
    assert all(torch.equal(found[0][name], tensor) for name, tensor in TENSORS.items())
    assert set(state(found[0], "a.")) == {"weight", "bias"}
    assert [file.name for file in path.parent.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), RuntimeError("x"), TypeError("x")])
def test_what_cannot_be_rebuilt_is_as_if_it_were_not_there(error: Exception, tmp_path: Path) -> None:
    def fails(*_: object) -> None:
        raise error

    path = tmp_path / "x.safetensors"
    write(path, "The network", TENSORS, {})
    assert read(path, fails) is None
    assert read(tmp_path / "none", _everything) is None
    save_file({"a": torch.ones(1)}, path, {"something": "else"})
    assert read(path, _everything) is None


def test_a_write_that_fails_leaves_nothing_and_names_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match=r"^The readers cannot be kept in .*No space left.*MAESTUNE_CACHE"):
        write(tmp_path / "x.safetensors", "The readers", TENSORS, {})
    assert not list(tmp_path.iterdir())


def test_whatever_it_depends_on_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        file_of("x", [1, "data"], tmp_path),
        file_of("x", [2, "data"], tmp_path),
        file_of("y", [1, "data"], tmp_path),
    }
    assert len(files) == 3
    monkeypatch.setenv("MAESTUNE_CACHE", str(tmp_path))
    assert file_of("x", [1, "data"]) in files


def test_a_mark_changes_with_weights_name_and_arrays() -> None:
    network = nn.Linear(3, 2, device="meta").to_empty(device="cpu")
    nn.init.ones_(network.weight)
    nn.init.zeros_(network.bias)
    marks = {
        mark_of(network),
        mark_of(network, "x"),
        mark_of(network, "", [np.ones(2)]),
        mark_of(network, "x", [np.ones(3)]),
    }
    before = mark_of(network)
    with torch.no_grad():
        network.bias[1] = 1e-6
    assert len(marks | {mark_of(network)}) == 5
    assert before in marks
    assert mark_of(network.to(memory_format=torch.preserve_format)) == mark_of(network)
