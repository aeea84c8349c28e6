import pytest

from maestune.campaign.prepare import prepare
from maestune.campaign.settings import Settings
from maestune.errors import SettingsError


@pytest.mark.parametrize("name", ["elbo_nats", "elbo_bpd", "iwae_nats"])
def test_bounds_of_different_likelihoods_are_not_compared(name: str) -> None:
    searched = Settings.make(model="vae", data="digits", objective=(name,))
    with pytest.raises(SettingsError, match=r"same likelihood, which is searched.*--set likelihood=bernoulli"):
        prepare(searched, None, "cpu", lambda _: None)
    fixed = Settings.make(model="vae", data="digits", objective=(name,), set={"likelihood": "bernoulli"})
    assert prepare(fixed, None, "cpu", lambda _: None).goals.objectives[0].name == name
