"""Tools for tests of what is built on maestune: conformance suites, and campaigns of any size that were never trained."""

from maestune.testing.campaigns import made_campaign as made_campaign
