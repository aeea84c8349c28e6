"""Generative adversarial networks."""

from maestune.families.gan.family import GAN as GAN
from maestune.families.gan.space import RECIPES as RECIPES
