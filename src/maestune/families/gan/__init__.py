"""Generative adversarial networks."""

from maestune.families.gan.family import GAN as GAN
