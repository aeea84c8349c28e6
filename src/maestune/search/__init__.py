"""What to try next: strategies, functions of the history alone."""

from maestune.search.named import DEFAULT_STRATEGY as DEFAULT_STRATEGY
from maestune.search.named import STRATEGIES as STRATEGIES
from maestune.search.named import make_strategy as make_strategy
from maestune.search.strategy import Strategy as Strategy
