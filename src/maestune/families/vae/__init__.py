"""Variational autoencoders."""

from maestune.families.vae.family import VAE as VAE
from maestune.families.vae.space import RECIPES as RECIPES
