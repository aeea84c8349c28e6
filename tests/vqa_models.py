"""Tiny models that answer questions about images, with random weights, saved with their processors as Hugging Face saves them.

Their processors are those that work without torchvision, and their tokenizers know every byte and, if wanted, the word Yes.
"""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SEEING = {**SMALL, "image_size": 16, "patch_size": 8}
# In the manner of LLaVA: a space stands before an answer, and none ends the prompt.
TEMPLATE = (
    "{% for m in messages %}{{ m['role'].upper() + ': ' }}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}{{ ' ' if m['role'] == 'user' else '</s>' }}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("transformers", reason="the extra hf is not installed")


def tokenizer(special: tuple[str, ...] = (), word: bool = True, signs: str = "") -> Any:
    """A tokenizer of bytes; `word`: that has Yes as a token. `signs`: where they are given, all that it knows."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    known = sorted(signs or pre_tokenizers.ByteLevel.alphabet())
    merges = [("e", "s"), ("Y", "es"), ("Ġ", "Yes")] if word else []
    tokens = [*SPECIAL, *special, *known, *("".join(pair) for pair in merges)]
    made = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([*SPECIAL, *special])
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return library().PreTrainedTokenizerFast(tokenizer_object=made, **names)


def llava(folder: Path, *, seed: int = 0, words: Any = None, template: str | None = TEMPLATE) -> Path:
    """A chat model: the decoder reads the image's tokens among those of the question."""
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    words = words or tokenizer(("<image>",))
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}), words,
        patch_size=8, vision_feature_select_strategy="default", chat_template=template, num_additional_image_tokens=1,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**SEEING),
        text_config=LlamaConfig(
            **SMALL, vocab_size=len(words), num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.5,
            pad_token_id=0, bos_token_id=1, eos_token_id=2,
        ),
        image_token_index=words.convert_tokens_to_ids("<image>"), image_seq_length=4,
    )  # fmt: skip
    return _saved(folder, LlavaForConditionalGeneration, config, processor, seed)


def blip2(folder: Path, *, seed: int = 0) -> Path:
    """An encoder-decoder: T5 encodes what queries see in the image, and the question."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor, BlipImageProcessorPil, T5Config

    words = tokenizer(("<image>",))
    processor = Blip2Processor(BlipImageProcessorPil(size={"height": 16, "width": 16}), words, num_query_tokens=3)
    config = Blip2Config(
        vision_config=SEEING,
        qformer_config={**SMALL, "vocab_size": 30, "encoder_hidden_size": 16, "cross_attention_frequency": 1},
        text_config=T5Config(
            vocab_size=len(words), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_decoder_layers=2, num_heads=2,
            pad_token_id=0, eos_token_id=2, decoder_start_token_id=0, initializer_factor=3.0,
        ).to_dict(),
        num_query_tokens=3, image_token_index=words.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    return _saved(folder, Blip2ForConditionalGeneration, config, processor, seed)


def blip(folder: Path, *, seed: int = 0) -> Path:
    """BLIP for visual question answering, which transformers counts apart from other models that write."""
    from transformers import BlipConfig, BlipForQuestionAnswering, BlipImageProcessorPil, BlipProcessor

    words = tokenizer()
    text = {
        "vocab_size": len(words),
        "encoder_hidden_size": 16,
        "max_position_embeddings": 256,
        "initializer_range": 0.5,
    }
    named = {"bos_token_id": 1, "sep_token_id": 2, "eos_token_id": 2, "pad_token_id": 0}
    config = BlipConfig(vision_config=SEEING, text_config={**SMALL, **text, **named}, projection_dim=16)
    processor = BlipProcessor(BlipImageProcessorPil(size={"height": 16, "width": 16}), words)
    return _saved(folder, BlipForQuestionAnswering, config, processor, seed)


def _saved(folder: Path, made: Any, config: Any, processor: Any, seed: int) -> Path:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)  # the library draws weights from the global generator
        made(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


MODELS = {"llava": llava, "blip2": blip2, "blip": blip}
