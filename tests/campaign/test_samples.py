"""Samples of finished campaigns whose models can be asked for something: images of classes, and texts that go on."""

from pathlib import Path

import pytest
import torch

from maestune.campaign import Campaign, Settings
from maestune.campaign.samples import draw_samples, write_texts
from maestune.data import to_float
from maestune.data.image_data import ImageData
from maestune.data.load import load_images
from maestune.data.prompts import Prompts
from maestune.data.text import load_text
from maestune.errors import MaestuneError, SettingsError, StoreError

PAINTING = '''
import torch
from maestune import NoiseSpec, Float, Network, Prior, Role, Space
from maestune.data import load_images

data = load_images("digits")
means = torch.stack([data.train.images[data.train.labels == k].float().mean(0) for k in range(10)]) / 127.5 - 1


class Painter(torch.nn.Module):
    """The mean image of each class, moved by a number that is learnt."""

    def __init__(self, spec):
        super().__init__()
        self.moved = torch.nn.Parameter(torch.zeros(spec.classes))
        self.register_buffer("means", means.clone())

    def forward(self, label):
        return self.means[label] + self.moved[label][:, None, None, None]


class Painting(Network):
    def conditional(self, config, spec):
        return True


family = Painting(
    space=Space(
        (Float("lr", 1e-3, 1e-2), Float("gain", 0.1, 1.0, prior=Prior(1.0), role=Role.SAMPLING), Float("ema", 0.5, 0.9, off=0.0))
    ),
    build=lambda config, spec: Painter(spec),
    loss=lambda net, batch, hyper, noise: (net(batch["label"]) - batch["image"]).square().flatten(1).mean(1),
    latents=lambda config, spec, n: {"z": NoiseSpec("normal", (n, *spec.shape))},
    generate=lambda net, hyper, noise: hyper["gain"] * net(noise["label"]) + 0.01 * noise["z"],
    full_steps=4,
    data="digits",
    objective=("adherence", "fd"),
)
'''

SPEAKING = """
import torch
from maestune import Choice, NoiseSpec, Float, Network, Role, Space


class Speaking(Network):
    modality = "text"
    measures = ("val_loss",)

    def measure(self, model, hyper, batch, generator):
        tokens = batch["tokens"]
        return {"val_loss": float(loss(model.network, batch, hyper, {}).mean())}

    def failure(self, spec):
        return {"val_loss": 5.0}


def loss(net, batch, hyper, noise):
    tokens = batch["tokens"]
    chances = net(tokens[:, :-1]).log_softmax(-1)
    return -chances.gather(-1, tokens[:, 1:, None]).squeeze(-1).mean(1)


def generate(net, hyper, noise):
    tokens = noise["prompt"]
    for step in range(noise["u"].shape[1]):
        chances = (net(tokens[:, -1]) / hyper["temperature"]).softmax(-1).cumsum(-1)
        token = (chances <= noise["u"][:, step, None]).sum(-1, keepdim=True).clamp(max=chances.shape[-1] - 1)
        tokens = torch.cat((tokens, token), 1)
    return tokens


family = Speaking(
    space=Space(
        (
            Float("lr", 1e-2, 1.0, scale="log"),
            Choice("context", (8,)),
            Choice("temperature", (0.8,), role=Role.SAMPLING),
        )
    ),
    build=lambda config, spec: torch.nn.Embedding(spec.tokens, spec.tokens),
    loss=loss,
    latents=lambda config, spec, n: {"u": NoiseSpec("uniform", (n, 6))},
    generate=generate,
    full_steps=30,
    objective="val_loss",
)
"""


def campaign(folder, text, **values):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.py").write_text(text)
    model = f"{folder / 'mine.py'}:family"
    made = Settings.make(model=model, budget="4trials", samples=100, workers=0, out=str(folder / "c"), **values)
    return Campaign(made).run()


@pytest.fixture(scope="module")
def painting(tmp_path_factory):
    return campaign(tmp_path_factory.mktemp("painting"), PAINTING)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "numbers.txt"
    path.write_text("\n".join(f"{i} é" for i in range(3000)))
    return path


@pytest.fixture(scope="module")
def speaking(tmp_path_factory, text):
    return campaign(tmp_path_factory.mktemp("speaking"), SPEAKING, data=str(text))


# Images ---------------------------------------------------------------------------------------------------------------


def nearest(images):
    """The class whose mean training image each is most alike."""
    data = load_images("digits")
    assert isinstance(data, ImageData)
    train = to_float(data.train.images)
    means = torch.stack([train[data.train.labels == k].mean(0) for k in range(10)]).flatten(1)
    flat = images.flatten(1)
    directions, flat = (x - x.mean(1, keepdim=True) for x in (means, flat))
    return torch.nn.functional.cosine_similarity(flat[:, None], directions[None], dim=-1).argmax(1)


def test_a_conditional_model_is_judged_by_what_it_was_asked_for(painting):
    assert painting.done
    recipe = painting.trials[0]
    assert recipe.rungs[-1].scores["adherence"].value > 0.8
    assert [o.name for o in painting.objectives] == ["adherence", "fd"]
    assert len(painting.prompts) == 8
    assert len(set(painting.prompts)) == 8


def test_images_are_drawn_of_the_classes_asked_for(painting):
    drawn = draw_samples(painting.folder, 20, prompts=("7", "3"), device="cpu")
    assert drawn.texts == ()
    assert drawn.images is not None
    assert nearest(drawn.images).tolist() == [7] * 8 + [3] * 8 + [7] * 4
    everything = draw_samples(painting.folder, 0, device="cpu").images
    assert everything is not None
    assert len(everything) == 64, "what the verdict saw, where nobody says what"
    assert nearest(everything)[::8].tolist() == [int(name) for name in painting.prompts]


def test_numbers_of_generation_can_be_changed_and_no_others(painting):
    images = {
        gain: draw_samples(painting.folder, 8, prompts=("1",), values={"gain": gain}).images for gain in (0.5, 1.0)
    }
    difference = images[1.0] - images[0.5]
    assert nearest(difference).tolist() == [1] * 8
    assert difference.flatten(1).std(0).max() < 1e-6, "all of one class, and without the noise, which is the same"
    for values, says in (
        ({"lr": 1e-3}, "lr: only parameters of generation can be changed now"),
        ({"ema": 0.6}, "ema: only parameters of generation"),
        ({"gian": 1.0}, "gian: only .*Did you mean gain"),
    ):
        with pytest.raises(SettingsError, match=says):
            draw_samples(painting.folder, 8, values=values)
    with pytest.raises(MaestuneError, match="gain"):
        draw_samples(painting.folder, 8, values={"gain": "much"})


def test_what_the_model_does_not_know_is_named(painting):
    with pytest.raises(SettingsError, match="'eleven' is no class of the data"):
        draw_samples(painting.folder, 8, prompts=("eleven",))


# Text -----------------------------------------------------------------------------------------------------------------


def test_a_family_that_learns_text_is_tuned_by_what_it_measures(speaking, text):
    assert speaking.done
    data = load_text(text)
    recipe = speaking.trials[0]
    assert 0.5 < recipe.rungs[-1].scores["val_loss"].value < 3.0
    assert set(recipe.rungs[-1].scores) == {"val_loss"}
    assert str(len(data.train)) in speaking.data_text.replace(",", "")
    assert list(speaking.trial_folder(0).glob("samples-*.json"))
    assert not list(speaking.folder.rglob("*.png"))


def test_texts_go_on_from_what_they_were_asked(speaking, text):
    drawn = draw_samples(speaking.folder, 3, prompts=("17 é",), device="cpu")
    assert drawn.images is None
    assert [begun for begun, _ in drawn.texts] == ["17 é"] * 3
    assert all(len(made) == 6 for _, made in drawn.texts)
    data = load_text(text)
    asked = data.prompts("report", 64)["prompt"][:4]
    drawn = draw_samples(speaking.folder, 0)
    assert [begun for begun, _ in drawn.texts] == [data.tokenizer.decode(prompt) for prompt in asked]
    again = Prompts.of(data).prompts((), 4)["prompt"]
    assert torch.equal(again, asked)


def test_the_same_seed_draws_the_same_text_and_another_another(speaking):
    first, again, other = (draw_samples(speaking.folder, 4, seed=seed).texts for seed in (1, 1, 2))
    assert first == again != other
    cold = [draw_samples(speaking.folder, 4, seed=seed, values={"temperature": 0.01}).texts for seed in (1, 2)]
    assert cold[0] == cold[1], "without warmth the likeliest token comes always"
    for wrong in (-0.1, float("inf"), "cold", True):
        with pytest.raises(
            SettingsError, match=r"temperature: .* is no number from 0; give for example temperature=0\.8"
        ):
            draw_samples(speaking.folder, 4, values={"temperature": wrong})


def test_texts_are_written_one_after_the_other(tmp_path):
    out = write_texts((("Once", " upon"), ("é", "\nÖ")), tmp_path / "new" / "texts.txt")
    assert out.read_text(encoding="utf-8") == "--- 1 ---\nOnce upon\n--- 2 ---\né\nÖ\n"
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Cannot write"):
        write_texts((), Path(tmp_path / "file" / "t.txt"))
