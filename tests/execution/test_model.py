import pytest
import torch

from maestune.data import DataSpec, ImageData, Images
from maestune.errors import SettingsError
from maestune.execution.model import (
    built_in_family,
    family_of,
    is_family,
    load_training,
    load_user_model,
    recipe_of,
    spec_for,
    user_model_name,
)
from maestune.families import Network
from maestune.families.gan import GAN


def write(tmp_path, text):
    path = tmp_path / "mine.py"
    path.write_text(text)
    return path


SPACE = "from maestune import Float, Space\nspace = Space((Float('lr', 0.1, 1.0),))\n"


def test_a_file_says_what_it_needs(tmp_path):
    path = write(
        tmp_path,
        SPACE + "data = 'digits'\nobjective = ['fd', 'coverage']\nfull_steps = 7\ndef train(config, run): yield\n",
    )
    own = load_user_model(f"{path}:train")
    assert (own.data, own.objectives, own.full_steps, own.generate) == ("digits", ("fd", "coverage"), 7, None)
    assert load_user_model(str(path)).training.__name__ == "train"


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (SPACE + "def trian(config, run): yield\n", "train", "no function or family 'train'.*trian"),
        ("def train(config, run): yield\n", "train", "no `space`"),
        ("def train(:", "train", "cannot be loaded: SyntaxError"),
        ("import not_there_at_all", "train", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_files_that_lack_something(tmp_path, text, name, says):
    with pytest.raises(SettingsError, match=says):
        load_user_model(f"{write(tmp_path, text)}:{name}")


NETWORK = """
import torch
from maestune import NoiseSpec, Float, Network, Space
family = Network(
    space=Space((Float("lr", 0.1, 1.0),)),
    build=lambda config, spec: torch.nn.Conv2d(spec.shape[0], spec.shape[0], 1),
    loss=lambda network, batch, hyper, noise: network(batch["image"]).square().flatten(1).mean(1),
    latents=lambda config, spec, n: {"z": NoiseSpec("normal", (n, *spec.shape))},
    generate=lambda network, hyper, noise: network(noise["z"]),
    full_steps=30,
    data="digits",
    objective="kid",
)
"""


def test_a_file_may_hold_a_family(tmp_path):
    model = f"{write(tmp_path, NETWORK)}:family"
    own = load_user_model(model)
    assert isinstance(own.family, Network)
    assert (own.data, own.objectives, own.space) == ("digits", ("kid",), None)
    found = family_of(model)
    assert isinstance(found, Network)
    assert found.full_steps(DataSpec(shape=(1, 8, 8)), 100) == 30
    assert callable(load_training(model))
    assert recipe_of(model) is None
    with pytest.raises(SettingsError, match=r"no function or family 'famly'\. Did you mean family"):
        load_user_model(model.replace(":family", ":famly"))


def test_the_family_of_a_model(tmp_path):
    assert family_of("gan") == GAN()
    assert family_of(f"{write(tmp_path, SPACE + 'def train(config, run): yield')}:train") is None
    assert is_family(GAN())
    assert not is_family(GAN)  # a class is no family yet
    assert not is_family(lambda config, run: iter(()))


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(SettingsError, match="No file"):
        load_user_model(str(tmp_path / "none.py:train"))
    with pytest.raises(SettingsError, match="Did you mean gan"):
        built_in_family("gam")


def test_names_of_trainings():
    assert user_model_name(test_names_of_trainings).endswith("test_model.py:test_names_of_trainings")
    assert user_model_name(lambda config, run: iter(())) is None


def test_names_of_families(tmp_path):
    made = load_user_model(f"{write(tmp_path, NETWORK)}:family").family
    assert user_model_name(made) == f"{tmp_path / 'mine.py'}:family"
    assert user_model_name(GAN(name="of no file")) is None


def test_what_a_family_is_built_for(tmp_path):
    images = Images(torch.zeros(9, 1, 4, 6, dtype=torch.uint8), torch.arange(9) % 2)
    data = ImageData("dark", images, images, images, ("a", "b"), "test")
    made = load_user_model(f"{write(tmp_path, NETWORK)}:family").family
    assert spec_for(made, data) == DataSpec(shape=(1, 4, 6), classes=2)
    with pytest.raises(SettingsError, match=r"network learns from data, but none was given; use --data"):
        spec_for(made, None)

    class Picky(GAN):
        def check(self, spec):
            raise SettingsError(f"not of {spec.classes} classes")

    with pytest.raises(SettingsError, match="not of 2 classes"):
        spec_for(Picky(), data)
