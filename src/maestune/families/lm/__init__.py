"""Language models of text."""

from maestune.families.lm.family import LM as LM
