"""DINOv2 and CLIP: with tiny random models of the library where it is installed, and without it."""

import json
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maestune.data import ImageData, load_images, to_float
from maestune.errors import SettingsError
from maestune.quality.features import pretrained
from maestune.quality.features.choice import choose, choose_caption_encoder

KINDS = ("dinov2", "clip")


@pytest.fixture(scope="module")
def library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("transformers", reason="the extra hf is not installed")


@pytest.fixture(scope="module")
def folders(library: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny model of each kind, as the library saves it, with random weights."""
    root = tmp_path_factory.mktemp("models")
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dinov2 = library.Dinov2Model(library.Dinov2Config(**small, image_size=28, patch_size=14))
        dinov2.save_pretrained(root / "dinov2")
        letters = [*"abcdefghijklmnopqrstuvwxyz0123456789,.'-"]
        tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
        clip = library.CLIPModel(
            library.CLIPConfig(
                text_config={
                    **small, "vocab_size": len(tokens), "max_position_embeddings": 12, "intermediate_size": 32,
                    "bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1, "pad_token_id": len(tokens) - 1,
                },
                vision_config={**small, "image_size": 16, "patch_size": 8, "intermediate_size": 32},
                projection_dim=10,
            )
        )  # fmt: skip
        clip.save_pretrained(root / "clip")
    (root / "clip" / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (root / "clip" / "merges.txt").write_text("#version: 0.2\n")
    return {kind: root / kind for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_the_model(kind: str, library: Any, folders: dict[str, Path], digits: ImageData) -> None:
    found = choose(f"{kind}:{folders[kind]}", digits)
    made = library.Dinov2Model if kind == "dinov2" else library.CLIPModel
    model = made.from_pretrained(folders[kind]).eval()
    size, mean, std = {
        "dinov2": (28, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        "clip": (16, [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
    }[kind]
    images = (to_float(digits.search.images[:70]) + 1) / 2
    with torch.inference_mode():
        resized = torch.nn.functional.interpolate(images, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
        pixels = (resized.expand(-1, 3, -1, -1) - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        if kind == "dinov2":
            expected = model(pixel_values=pixels).pooler_output
        else:
            expected = model.get_image_features(pixel_values=pixels)
            expected = getattr(expected, "pooler_output", expected)
    seen = found.extract(digits.search.images[:70])
    np.testing.assert_allclose(seen.values, expected.numpy(), atol=1e-4)
    assert f"{size}×{size}" in found.description
    assert found.dimensions == {"dinov2": 16, "clip": 10}[kind]
    alone = np.concatenate([found.extract(image).values for image in digits.search.images[:5].split(1)])
    np.testing.assert_allclose(alone, seen.values[:5], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_they_travel_as_a_path(kind: str, folders: dict[str, Path], digits: ImageData) -> None:
    found = choose(f"{kind}:{folders[kind]}", digits)
    content = pickle.dumps(found)
    assert len(content) < 3000
    values = found.extract(digits.search.images[:9]).values
    pretrained._loaded.cache_clear()
    np.testing.assert_array_equal(pickle.loads(content).extract(digits.search.images[:9]).values, values)


def test_a_models_own_mean_and_spread_are_used(folders: dict[str, Path], digits: ImageData, tmp_path: Path) -> None:
    usual = choose(f"dinov2:{folders['dinov2']}", digits)
    for file in folders["dinov2"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}'
    )
    own = choose(f"dinov2:{tmp_path}", digits)
    assert "minus 0.5/0.5/0.5" in own.description
    assert own.fingerprint != usual.fingerprint
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(SettingsError, match="cannot be read as JSON"):
        choose(f"dinov2:{tmp_path}", digits)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["weights", "config", "another model"])
def test_damaged_folders_are_told(
    kind: str, damage: str, folders: dict[str, Path], digits: ImageData, tmp_path: Path
) -> None:
    for file in folders[kind].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    if damage == "weights":
        (tmp_path / "model.safetensors").write_bytes(b"nothing of use")
    elif damage == "config":
        (tmp_path / "config.json").write_text("{}")
    else:
        other = folders["clip" if kind == "dinov2" else "dinov2"]
        (tmp_path / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(SettingsError, match=str(tmp_path)):
        choose(f"{kind}:{tmp_path}", digits)


def test_clip_reads_captions(library: Any, folders: dict[str, Path]) -> None:
    data = load_images("digits-captions")
    reader = choose_caption_encoder(f"clip:{folders['clip']}", data)
    assert reader is not None
    assert reader.kind == "clip"
    captions = data.search.captions
    assert captions is not None
    agreement, rank = reader.read(data.search.images[:40], captions[:40])
    model = library.CLIPModel.from_pretrained(folders["clip"]).eval()
    tokenizer = library.CLIPTokenizer.from_pretrained(folders["clip"])
    assert data.vocabulary is not None
    texts = [data.vocabulary.decode(caption) for caption in captions[:40]]
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=12, return_tensors="pt")
    mean, std = (
        torch.tensor(v).view(3, 1, 1)
        for v in ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    )
    images = (to_float(data.search.images[:40]) + 1) / 2
    images = torch.nn.functional.interpolate(images, (16, 16), mode="bicubic", antialias=True).clamp(0, 1)
    with torch.inference_mode():
        out = model(**tokens, pixel_values=(images.expand(-1, 3, -1, -1) - mean) / std)
    expected = (out.image_embeds * out.text_embeds).sum(1).numpy()
    np.testing.assert_allclose(agreement, expected, atol=1e-4)
    assert rank.min() >= 1
    assert rank.max() <= 100
    sent = pickle.loads(pickle.dumps(reader))
    pretrained._loaded.cache_clear()
    np.testing.assert_array_equal(sent.read(data.search.images[:40], captions[:40])[1], rank)


def test_a_clip_without_its_tokenizer_is_told(folders: dict[str, Path], tmp_path: Path) -> None:
    for file in folders["clip"].iterdir():
        if file.name not in ("vocab.json", "merges.txt"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    data = load_images("digits-captions")
    with pytest.raises(SettingsError, match="has no tokenizer"):
        choose_caption_encoder(f"clip:{tmp_path}", data)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(SettingsError, match=r"the tokenizer of .* cannot be read"):
        choose_caption_encoder(f"clip:{tmp_path}", data)


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_library_the_extra_is_named(
    kind: str, digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "transformers", None)
    pretrained._loaded.cache_clear()
    with pytest.raises(SettingsError, match=r"pip install 'maestune\[hf\]'"):
        choose(f"{kind}:{tmp_path}", digits)
