"""Models that answer questions about images, in folders as Hugging Face saves them: which are accepted, and how they are read.

Accepted are what `AutoModelForImageTextToText` and `AutoModelForVisualQuestionAnswering` of transformers know, in two kinds:

- chat models (LLaVA, Idefics 2 and 3, Mllama, Gemma 3 …), with a chat template beside their processor: the logits of the first
  token of their answer. Models that think before they answer begin with something else, and are no use here. Processors that
  read videos too (Qwen-VL, SmolVLM) need torchvision.
- encoder-decoders (BLIP-2 and InstructBLIP on FlanT5, BLIP for VQA): the logits of the first token of the decoder.

CLIP-FlanT5, which the paper recommends, is not in transformers. Classifiers over fixed answers (ViLT) are refused. Images are
prepared by Pillow also where torchvision is installed, whose resize differs. Nothing is downloaded, and code in a folder is not
run.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# transformers publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

from pathlib import Path
from typing import Any

from maestune.errors import SettingsError
from maestune.quality.features.vqa_model import ANSWER, VqaModel, question_message
from maestune.quality.features.weights import hugging_face, in_silence, last_line, sha256_of

DESCRIBING = (
    ".json",
    ".jinja",
    ".model",
    ".txt",
)  # files beside the weights that say what a model makes of words and images


def digest_of_folder(path: Path) -> str:
    """SHA-256 of the names and contents of what makes the answers; SettingsError where they are not there."""
    return sha256_of(files_of(path))


def files_of(path: Path) -> list[Path]:
    """What makes the answers: weights, config, processor, tokenizers. Raises SettingsError where they are not there."""
    weights = (sorted(path.glob("*.safetensors")) or sorted(path.glob("pytorch_model*.bin"))) if path.is_dir() else []
    if not weights or not (path / "config.json").is_file():
        raise SettingsError(
            f"vqa: {path} is no folder with config.json and model.safetensors, as Hugging Face saves a model. Download a model "
            "that answers questions about images on a machine with a network, copy its folder, and give it: --vqa FOLDER."
        )
    # Some processors have a second tokenizer, in a folder of its own.
    beside = (*path.glob("*"), *path.glob("[!.]*/*"))
    described = sorted(file for file in beside if file.suffix in DESCRIBING and file.is_file())
    return [*described, *weights]


def read_vqa(path: Path, device: str) -> VqaModel:
    """The model of a folder, in evaluation mode on a device; SettingsError where it cannot be read or answers no questions."""
    library = hugging_face("vqa: such models", "leave --vqa out")
    with in_silence(library):
        made = _automatic(library, path)
        processor = _processor(library, path)
        chat = bool(getattr(processor, "chat_template", None))
        model = _model(made, path)
        decoding = made is library.AutoModelForVisualQuestionAnswering or _encodes(model.config)
        if not chat and not decoding:
            raise SettingsError(
                f"vqa: {path} ({type(model).__name__}) has no chat template, so that nobody knows how it is asked. Copy its "
                "chat_template.jinja (or .json) into the folder, or give a chat model or an encoder-decoder."
            )
        token = _token(path, processor, chat and not decoding)
        try:
            model = model.to(device)
        except (RuntimeError, AssertionError) as error:
            raise SettingsError(
                f"vqa: {path} does not go to {device} ({last_line(error)}). Give another --device."
            ) from error
    return VqaModel(path, model, processor, device, chat, token)


def _automatic(library: Any, path: Path) -> Any:
    """The class of the library that reads the model of a folder."""
    try:
        config = library.AutoConfig.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library raises errors of many others, and of its own
        raise _unreadable(path, "transformers does not know its config.json", error) from error
    names = library.models.auto.modeling_auto
    architecture = next(iter(config.architectures or ()), "no model")
    for made, known in (
        (library.AutoModelForImageTextToText, names.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES),
        (library.AutoModelForVisualQuestionAnswering, names.MODEL_FOR_VISUAL_QUESTION_ANSWERING_MAPPING_NAMES),
    ):
        found = known.get(config.model_type, ())
        if architecture in ((found,) if isinstance(found, str) else found):
            return made
    raise SettingsError(
        f"vqa: {path} holds {architecture}, which answers no questions about images. Give a chat model (LLaVA, Idefics, "
        "Gemma 3 …) or an encoder-decoder (BLIP-2 or InstructBLIP on FlanT5, BLIP for VQA)."
    )


def _processor(library: Any, path: Path) -> Any:
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        made = library.AutoProcessor.from_pretrained(str(path), **local)
        if hasattr(made, "image_processor"):
            # Apart, since processors of videos do not take a backend.
            made.image_processor = library.AutoImageProcessor.from_pretrained(str(path), **local, backend="pil")
    except Exception as error:  # the library raises errors of many others, and of its own
        raise _unreadable(path, "its processor cannot be read", error) from error
    if not hasattr(made, "image_processor") or not hasattr(made, "tokenizer"):
        raise SettingsError(
            f"vqa: {path} has no processor of images and words. Copy the files of its processor and its tokenizer "
            "(preprocessor_config.json, tokenizer.json …) into the folder."
        )
    return made


def _model(made: Any, path: Path) -> Any:
    try:
        model, told = made.from_pretrained(
            str(path), local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    except Exception as error:  # the library raises errors of many others, and of its own
        raise _unreadable(path, "its weights cannot be read", error) from error
    missing = sorted(map(str, told["missing_keys"]))
    if missing:
        raise SettingsError(
            f"vqa: {path} lacks weights of {type(model).__name__} ({', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}); "
            "they would be random. Copy the folder again."
        )
    if not hasattr(model, "generate"):
        raise SettingsError(
            f"vqa: {path} ({type(model).__name__}) chooses among fixed answers and writes none. Give a model that writes them."
        )
    return model.requires_grad_(False).eval()


def _encodes(config: Any) -> bool:
    """Whether questions are read by an encoder and answered by a decoder."""
    return bool(config.is_encoder_decoder or getattr(config, "text_config", config).is_encoder_decoder)


def _token(path: Path, processor: Any, chat: bool) -> int:
    """The first token of the answer Yes where an answer begins.

    In a chat it is told by what follows the prompt once somebody has answered so: some templates set a space before it, and
    then it is another token. Raises SettingsError where no token is the beginning of Yes.
    """
    tokenizer = processor.tokenizer
    prompt, lead = "", ""
    if chat:
        question = question_message("?")
        answer = {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}
        try:
            prompt = processor.apply_chat_template([question], add_generation_prompt=True, tokenize=False)
            with_answers = processor.apply_chat_template([question, answer], tokenize=False)
        except Exception as error:  # of Jinja, of the library, and what a template itself raises
            raise _unreadable(path, "its chat template cannot be used", error) from error
        follows = with_answers.removeprefix(prompt)
        lead = follows[: len(follows) - len(follows.lstrip())] if with_answers.startswith(prompt) else ""
    before = tokenizer(prompt, add_special_tokens=False).input_ids if prompt else []
    after = tokenizer(prompt + lead + ANSWER, add_special_tokens=False).input_ids
    text = ""
    if list(after[: len(before)]) == list(before) and len(after) > len(before):
        text = str(tokenizer.decode([after[len(before)]])).strip()
    if not text or not ANSWER.lower().startswith(text.lower()):
        raise SettingsError(
            f"vqa: {path} cannot be asked for yes or no: in its tokenizer no token begins the answer {ANSWER!r}. Check the "
            "tokenizer's files, or give another model."
        )
    return int(after[len(before)])


def _unreadable(path: Path, what: str, error: Exception) -> SettingsError:
    if isinstance(error, ImportError):
        missing = next(iter(str(error).strip().splitlines()), "")
        return SettingsError(
            f"vqa: {path}: {what}, since a package is missing ({missing}). Install it, or give a model that does without: "
            "processors that read videos too need torchvision."
        )
    return SettingsError(
        f"vqa: {path}: {what} ({type(error).__name__}: {last_line(error)}). Copy the folder again, or give a model of a kind "
        "that transformers knows (CLIP-FlanT5 is none)."
    )
