from __future__ import annotations

import pytest

from maestune.families.base import Family
from maestune.families.flow import Flow
from maestune.families.gan import GAN
from maestune.families.lm import LM
from maestune.families.vae import VAE
from maestune.testing.family import FamilySuite
from maestune.types import Config


class TestGAN(FamilySuite):
    @pytest.fixture
    def family(self) -> Family:
        return GAN()

    def shrunk(self, config: Config) -> Config:
        return config.with_(batch_size=4, width=8, latent_dim=4)


class TestVAE(FamilySuite):
    @pytest.fixture
    def family(self) -> Family:
        return VAE()

    def shrunk(self, config: Config) -> Config:
        return config.with_(batch_size=4, width=8, latent_dim=4)


class TestLM(FamilySuite):
    @pytest.fixture
    def family(self) -> Family:
        return LM()

    def shrunk(self, config: Config) -> Config:
        return config.with_(batch_size=4, layers=1, heads=2, width=8, context=8)


class TestFlow(FamilySuite):
    @pytest.fixture
    def family(self) -> Family:
        return Flow()

    def shrunk(self, config: Config) -> Config:
        return config.with_(batch_size=4, width=16, depth=1, heads=2)
