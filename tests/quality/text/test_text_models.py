import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from maestune.data import TextData
from maestune.errors import MetricError, StoreError
from maestune.quality.features.extractor import Scale
from maestune.quality.text import TextModels, prepare_text_models
from maestune.quality.text import text_models as text_models_module
from maestune.quality.text.embedder import load_pretrained, pieces_of
from maestune.quality.text.text_models import cache_file, decoded, load_readers, save_readers


def test_a_second_request_trains_nothing(prose_data: TextData, prose_models: TextModels, prose_cache: Path) -> None:
    said: list[str] = []
    again = prepare_text_models(prose_data, cache=prose_cache, progress=said.append)
    assert not said
    assert again.fingerprint == prose_models.fingerprint
    texts = ["The river follows the garden.", ""]
    np.testing.assert_array_equal(again.embedder.embed(texts), prose_models.embedder.embed(texts))
    assert "bits a character" in again.description


def test_what_it_depends_on_has_its_own_file(prose_data: TextData, tmp_path: Path) -> None:
    changed = replace(prose_data, fingerprint="other")
    files = {cache_file(prose_data, 0, tmp_path), cache_file(prose_data, 1, tmp_path), cache_file(changed, 0, tmp_path)}
    assert len(files) == 3


@pytest.mark.parametrize("damage", ["empty", "cut", "rubbish", "one byte"])
def test_a_damaged_file_is_made_anew(
    damage: str, prose_data: TextData, prose_models: TextModels, prose_cache: Path, tmp_path: Path
) -> None:
    content = cache_file(prose_data, 0, prose_cache).read_bytes()
    path = tmp_path / "readers.safetensors"
    changed = {
        "empty": b"",
        "cut": content[: len(content) // 2],
        "rubbish": bytes(range(256)) * 64,
        "one byte": content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
    }
    path.write_bytes(changed[damage])
    assert load_readers(path) is None
    path.write_bytes(content)
    assert load_readers(path) is not None
    assert load_readers(tmp_path / "none") is None


def test_a_folder_that_cannot_be_written_is_named(prose_models: TextModels, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"The readers cannot be kept in .*MAESTUNE_CACHE"):
        save_readers([prose_models.oracle], tmp_path / "file" / "x.safetensors")


def test_each_learns_from_its_own_half(prose_data: TextData, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(text_models_module, "fit_reader", lambda text, generator: seen.append(text))
    text_models_module.fit_readers(prose_data, torch.Generator())
    one, other = seen
    whole = decoded(prose_data, prose_data.train)
    assert len(one) + len(other) == len(whole)
    assert abs(len(one) - len(other)) < 0.1 * len(whole)
    lines = [line for line in one.splitlines() if len(line) > 30]
    # Sentences carry numbers, so that the same one hardly comes twice.
    assert sum(line in other for line in lines) < 0.02 * len(lines)


def test_long_texts_are_read_in_part(prose_data: TextData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_models_module, "MOST_READ", 6_400)
    monkeypatch.setattr(text_models_module, "DECODED_TOGETHER", 77)
    seen: list[str] = []
    monkeypatch.setattr(text_models_module, "fit_reader", lambda text, generator: seen.append(text))
    text_models_module.fit_readers(prose_data, torch.Generator())
    assert 6_400 <= sum(map(len, seen)) <= 6_500


def test_vectors_are_scaled_by_real_text(prose_data: TextData, prose_models: TextModels) -> None:
    text = decoded(prose_data, prose_data.search)
    pieces = [text[start : start + 128] for start in range(0, len(text) - 128, 128)]
    vectors = prose_models.embedder.embed(pieces)
    assert abs(vectors.mean()) < 0.3
    assert 0.5 < vectors.std() < 1.5


class _Tokens(dict[str, torch.Tensor]):
    def to(self, device: str) -> "_Tokens":
        return _Tokens({name: tensor.to(device) for name, tensor in self.items()})


class _Tokenizer:
    """Words of one letter each; as those of the transformers library, with padding."""

    @staticmethod
    def from_pretrained(folder: str, local_files_only: bool) -> "_Tokenizer":
        assert local_files_only
        if not Path(folder).is_dir():
            raise OSError("no such folder")
        return _Tokenizer()

    def __call__(self, texts: list[str], padding: bool, truncation: bool, return_tensors: str) -> _Tokens:
        assert padding
        assert truncation
        assert return_tensors == "pt"
        longest = max(len(text) for text in texts)
        ids = [[ord(c) % 50 for c in text] + [0] * (longest - len(text)) for text in texts]
        mask = [[1] * len(text) + [0] * (longest - len(text)) for text in texts]
        return _Tokens(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))


class _Network(torch.nn.Module):
    @staticmethod
    def from_pretrained(folder: str, local_files_only: bool) -> "_Network":
        return _Network()

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(50, 6, generator=torch.Generator().manual_seed(0)))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.table[input_ids])


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("transformers")
    module.__dict__.update(AutoTokenizer=_Tokenizer, AutoModel=_Network)
    monkeypatch.setitem(sys.modules, "transformers", module)


@pytest.mark.usefixtures("library")
def test_a_pretrained_network_is_averaged_without_padding(tmp_path: Path) -> None:
    text = "abcdef ghijkl mno " * 20
    scale = pieces_of(text)
    embedder = load_pretrained(tmp_path, text)
    table = _Network().table.detach().double().numpy()

    def mean(text: str) -> np.ndarray:
        return np.mean([table[ord(c) % 50] for c in text], axis=0)

    raw = np.array([mean(text) for text in scale])
    standard = Scale.of(raw)
    texts = ["a", "hello world", " "]
    np.testing.assert_allclose(embedder.embed([*texts, ""]), [standard(mean(t)) for t in (*texts, " ")], rtol=1e-5)
    again, other = (load_pretrained(tmp_path, one) for one in (text, text[3:]))
    assert embedder.fingerprint == again.fingerprint != other.fingerprint
    assert tmp_path.name in embedder.description


@pytest.mark.usefixtures("library")
def test_a_pretrained_network_looks_in_place_of_our_own(
    prose_data: TextData, prose_models: TextModels, prose_cache: Path, tmp_path: Path
) -> None:
    models = prepare_text_models(prose_data, pretrained=tmp_path, cache=prose_cache)
    assert models.embedder.embed(["a text"]).shape == (1, 6)
    assert models.oracle.fingerprint == prose_models.oracle.fingerprint
    assert models.fingerprint != prose_models.fingerprint


@pytest.mark.usefixtures("library")
def test_a_folder_without_a_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(MetricError, match=r"nowhere: holds no model.*no such folder"):
        load_pretrained(tmp_path / "nowhere", "a")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MetricError, match=r"maestune\[hf\]"):
        load_pretrained(tmp_path, "a")
