import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vqa_models
from maestune.errors import MetricError, SettingsError
from maestune.quality.features.vqa_folder import digest_of_folder, read_vqa
from maestune.quality.features.vqa_model import TOGETHER
from maestune.quality.features.weights import in_silence

KINDS = tuple(vqa_models.MODELS)
QUESTIONS = [
    f'Does this figure show "{"very " * (i % 4)}{i}"? Please answer yes or no.' for i in range(2 * TOGETHER + 3)
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    vqa_models.library()
    root = tmp_path_factory.mktemp("models")
    return {kind: make(root / kind) for kind, make in vqa_models.MODELS.items()}


@pytest.fixture
def copied(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the chat model, to be damaged."""
    return Path(shutil.copytree(folders["llava"], tmp_path / "model"))


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (len(QUESTIONS), 16, 16, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in pixels]


def _by_hand(kind: str, folder: Path, image: Image.Image, question: str) -> float:
    """The probability of Yes, from the logits of one forward pass with everything spelt out."""
    library = vqa_models.library()
    with in_silence(library), torch.inference_mode():
        processor = library.AutoProcessor.from_pretrained(folder)
        processor.image_processor = library.AutoImageProcessor.from_pretrained(folder, backend="pil")
        if kind == "llava":
            model = library.LlavaForConditionalGeneration.from_pretrained(folder).eval()
            inputs = processor(text=f"USER: <image>\n{question} ASSISTANT:", images=image, return_tensors="pt")
            logits, answer = model(**inputs).logits[0, -1], "ĠYes"
        elif kind == "blip2":
            model = library.Blip2ForConditionalGeneration.from_pretrained(folder).eval()
            inputs = processor(text=question, images=image, return_tensors="pt")
            logits, answer = model(**inputs, decoder_input_ids=torch.tensor([[0]])).logits[0, -1], "Yes"
        else:
            model = library.BlipForQuestionAnswering.from_pretrained(folder).eval()
            inputs = processor(text=question, images=image, return_tensors="pt")
            seen = model.vision_model(inputs["pixel_values"]).last_hidden_state
            asked = model.text_encoder(inputs["input_ids"], inputs["attention_mask"], encoder_hidden_states=seen)
            told = model.text_decoder(torch.tensor([[1]]), encoder_hidden_states=asked.last_hidden_state)
            logits, answer = told.logits[0, -1], "Yes"
    token = processor.tokenizer.convert_tokens_to_ids(answer)
    return float(torch.softmax(logits.double(), dim=0)[token])


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_the_first_token(
    kind: str, folders: dict[str, Path], images: list[Image.Image]
) -> None:
    model = read_vqa(folders[kind], "cpu")
    found = model.yes(images, QUESTIONS)
    assert found.dtype == np.float64
    assert model.answer == "Yes"
    assert model.chat == (kind == "llava")
    expected = [_by_hand(kind, folders[kind], *pair) for pair in zip(images[:6], QUESTIONS, strict=False)]
    np.testing.assert_allclose(found[:6], expected, rtol=1e-4)
    assert found.std() > 1e-3 * found.mean()  # the image and the question count


@pytest.mark.parametrize("kind", KINDS)
def test_who_else_is_asked_does_not_matter(kind: str, folders: dict[str, Path], images: list[Image.Image]) -> None:
    model = read_vqa(folders[kind], "cpu")
    together = model.yes(images, QUESTIONS)
    alone = np.concatenate([model.yes([image], [question]) for image, question in zip(images, QUESTIONS, strict=True)])
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    backwards = model.yes(images[::-1], QUESTIONS[::-1])[::-1]
    np.testing.assert_allclose(together, backwards, rtol=1e-4)


def test_each_image_goes_with_its_question(folders: dict[str, Path], images: list[Image.Image]) -> None:
    model = read_vqa(folders["llava"], "cpu")
    found = model.yes(images, QUESTIONS)
    assert not np.allclose(found, model.yes(images[1:] + images[:1], QUESTIONS), rtol=1e-3)
    assert not np.allclose(found, model.yes(images, QUESTIONS[1:] + QUESTIONS[:1]), rtol=1e-3)


def test_a_tokenizer_that_cuts_yes_is_asked_for_its_beginning(tmp_path: Path, images: list[Image.Image]) -> None:
    vqa_models.library()
    # Without the space before an answer that LLaVA sets: there it would be a token of its own.
    template = vqa_models.TEMPLATE.replace("ASSISTANT:", "ASSISTANT: ")
    words = vqa_models.tokenizer(("<image>",), word=False)
    model = read_vqa(vqa_models.llava(tmp_path / "model", words=words, template=template), "cpu")
    assert model.answer == "Y"
    assert model.token == words.convert_tokens_to_ids("Y")
    assert (model.yes(images[:2], QUESTIONS[:2]) > 0).all()


def test_a_tokenizer_that_cannot_say_yes_is_refused(tmp_path: Path) -> None:
    vqa_models.library()
    words = vqa_models.tokenizer(("<image>",), word=False, signs="abc ")
    with pytest.raises(SettingsError, match="no token begins the answer 'Yes'"):
        read_vqa(vqa_models.llava(tmp_path / "model", words=words), "cpu")


def test_a_chat_model_without_its_template_is_refused(tmp_path: Path) -> None:
    vqa_models.library()
    with pytest.raises(SettingsError, match="has no chat template"):
        read_vqa(vqa_models.llava(tmp_path / "model", template=None), "cpu")


def test_a_model_that_answers_no_questions_is_refused(tmp_path: Path) -> None:
    library = vqa_models.library()
    library.CLIPModel(
        library.CLIPConfig(text_config={**vqa_models.SMALL, "vocab_size": 30}, vision_config=vqa_models.SEEING)
    ).save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match="CLIPModel, which answers no questions about images"):
        read_vqa(tmp_path, "cpu")


def test_a_classifier_of_answers_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    library = vqa_models.library()
    config = library.ViltConfig(**vqa_models.SEEING, vocab_size=300, id2label={0: "yes", 1: "no"})
    library.ViltForQuestionAnswering(config).save_pretrained(tmp_path)
    for file in folders["blip"].iterdir():
        if file.name not in ("config.json", "generation_config.json", "model.safetensors"):
            shutil.copy(file, tmp_path)
    with pytest.raises(SettingsError, match="chooses among fixed answers"):
        read_vqa(tmp_path, "cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_what_answers_depend_on_changes_the_digest(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    digest = digest_of_folder(folders[kind])
    assert digest == digest_of_folder(Path(shutil.copytree(folders[kind], tmp_path / "same")))
    assert digest != digest_of_folder(vqa_models.MODELS[kind](tmp_path / "other", seed=1))
    for name in ("tokenizer.json", "processor_config.json", "config.json"):
        changed = Path(shutil.copytree(folders[kind], tmp_path / name))
        (changed / name).write_text((changed / name).read_text() + "\n")
        assert digest != digest_of_folder(changed), name


def test_second_tokenizers_count_and_hidden_files_do_not(copied: Path) -> None:
    digest = digest_of_folder(copied)
    (copied / ".cache").mkdir()
    (copied / ".cache" / "download.json").write_text("{}")
    (copied / "README.md").write_text("A model.")
    assert digest_of_folder(copied) == digest
    (copied / "qformer_tokenizer").mkdir()
    (copied / "qformer_tokenizer" / "tokenizer.json").write_text("{}")
    assert digest_of_folder(copied) != digest


def _without(copied: Path, *names: str) -> None:
    for name in names:
        (copied / name).unlink()


def _headless(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    kept = {k: v for k, v in load_file(copied / "model.safetensors").items() if "lm_head" not in k}
    save_file(kept, copied / "model.safetensors", {"format": "pt"})


def _of_a_kind(copied: Path, **values: Any) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, **values}))


def _chosen(folder: Path) -> None:
    digest_of_folder(folder)
    read_vqa(folder, "cpu")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: _without(folder, "model.safetensors"), "no folder with config.json and model.safetensors"),
        (lambda folder: _without(folder, "config.json"), "no folder with config.json"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"nothing"), "its weights cannot be read"),
        (_headless, r"lacks weights of LlavaForConditionalGeneration \(lm_head"),
        (lambda folder: _of_a_kind(folder, model_type="clip_t5"), "does not know its config.json.*CLIP-FlanT5"),
        (lambda folder: _of_a_kind(folder, architectures=["LlavaModel"]), "LlavaModel, which answers no questions"),
        (lambda folder: _of_a_kind(folder, architectures=None), "no model, which answers no questions"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "its processor cannot be read"),
        (lambda folder: _without(folder, "processor_config.json"), "processor"),
        (
            lambda folder: (folder / "chat_template.jinja").write_text("{{ raise_exception('no') }}"),
            "chat template cannot",
        ),
    ],
)
def test_folders_that_cannot_be_used_are_told(copied: Path, damage: Any, said: str) -> None:
    damage(copied)
    with pytest.raises(SettingsError, match=said) as error:
        _chosen(copied)
    assert str(copied) in str(error.value)


def test_a_package_that_a_processor_needs_is_named(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> object:
        raise ImportError("\nAutoVideoProcessor requires the Torchvision library.\nRestart your runtime.")

    monkeypatch.setattr(vqa_models.library().AutoProcessor, "from_pretrained", missing)
    with pytest.raises(
        SettingsError, match=r"a package is missing \(AutoVideoProcessor requires the Torchvision library\.\)"
    ):
        read_vqa(copied, "cpu")


def test_what_is_missing_or_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(SettingsError, match="is no folder with"):
            digest_of_folder(path)


def test_a_device_that_is_not_there_is_told(folders: dict[str, Path]) -> None:
    if torch.cuda.is_available():
        pytest.skip("it is there")
    with pytest.raises(SettingsError, match="does not go to cuda"):
        read_vqa(folders["llava"], "cuda")


def test_a_caption_that_breaks_the_prompt_is_told(folders: dict[str, Path], images: list[Image.Image]) -> None:
    model = read_vqa(folders["llava"], "cpu")
    with pytest.raises(MetricError, match=r"cannot be asked .*<image>"):
        model.yes(images[:1], ["two <image> of them?"])


def test_a_model_that_breaks_is_told(
    folders: dict[str, Path], images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read_vqa(folders["llava"], "cpu")

    def broken(*_: object, **__: object) -> object:
        raise torch.OutOfMemoryError("no room\nfor so much")

    monkeypatch.setattr(model.model.lm_head, "forward", broken)
    with pytest.raises(MetricError, match=r"does not answer \(OutOfMemoryError: for so much\).*--device"):
        model.yes(images[:1], QUESTIONS[:1])


def test_answers_that_are_no_numbers_are_refused(folders: dict[str, Path], images: list[Image.Image]) -> None:
    model = read_vqa(folders["llava"], "cpu")
    model.model.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(MetricError, match="not finite"):
        model.yes(images[:1], QUESTIONS[:1])


def test_the_library_is_left_as_it_was(folders: dict[str, Path]) -> None:
    told = vqa_models.library().utils.logging
    before = told.get_verbosity(), told.is_progress_bar_enabled()
    read_vqa(folders["llava"], "cpu")
    assert (told.get_verbosity(), told.is_progress_bar_enabled()) == before


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SettingsError, match=r"pip install 'maestune\[hf\]'; or leave --vqa out"):
        read_vqa(tmp_path, "cpu")
