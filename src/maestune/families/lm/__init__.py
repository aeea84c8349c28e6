"""Language models of text."""

from maestune.families.lm.family import LM as LM
from maestune.families.lm.space import RECIPES as RECIPES
