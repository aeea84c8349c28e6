"""Variational autoencoders."""

from maestune.families.vae.family import VAE as VAE
