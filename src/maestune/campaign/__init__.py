"""The whole search with its budget: loop, store, verdict."""

from maestune.campaign.campaign import Campaign as Campaign
from maestune.campaign.campaign import Estimate as Estimate
from maestune.campaign.observer import Observer as Observer
from maestune.campaign.record import Finalist as Finalist
from maestune.campaign.record import Record as Record
from maestune.campaign.record import Verdict as Verdict
from maestune.campaign.settings import Settings as Settings
