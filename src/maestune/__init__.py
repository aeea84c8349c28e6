"""maestune tunes generative models for what they generate.

The public contract; everything else may change. Importing it has no side effects.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maestune.api import Result as Result
    from maestune.api import open_campaign as open_campaign
    from maestune.api import run_campaign as run_campaign
    from maestune.api import score as score
    from maestune.api import tune as tune
    from maestune.campaign import Campaign as Campaign
    from maestune.campaign import Record as Record
    from maestune.campaign import Settings as Settings
    from maestune.campaign import Verdict as Verdict
    from maestune.data import Batch as Batch
    from maestune.data import DataSpec as DataSpec
    from maestune.data import ImageData as ImageData
    from maestune.data import TextData as TextData
    from maestune.data import load_images as load_images
    from maestune.data import to_float as to_float
    from maestune.errors import MaestuneError as MaestuneError
    from maestune.families import Hyper as Hyper
    from maestune.families import Network as Network
    from maestune.families import Noise as Noise
    from maestune.families import NoiseSpec as NoiseSpec
    from maestune.quality.scoring.result import ScoreResult as ScoreResult
    from maestune.search import STRATEGIES as STRATEGIES
    from maestune.search import Strategy as Strategy
    from maestune.space import Choice as Choice
    from maestune.space import Float as Float
    from maestune.space import Fusible as Fusible
    from maestune.space import Int as Int
    from maestune.space import Prior as Prior
    from maestune.space import Role as Role
    from maestune.space import Space as Space
    from maestune.training.run import Run as Run
    from maestune.types import Config as Config
    from maestune.types import Objective as Objective
    from maestune.types import Report as Report
    from maestune.types import Score as Score

# Where everything is. PyTorch, a database and statistics take seconds to import: the command line has to react before.
_PLACES = {
    **dict.fromkeys(("Batch", "DataSpec", "ImageData", "TextData", "load_images", "to_float"), "maestune.data"),
    "MaestuneError": "maestune.errors",
    **dict.fromkeys(("NoiseSpec", "Hyper", "Network", "Noise"), "maestune.families"),
    **dict.fromkeys(("Choice", "Float", "Fusible", "Int", "Prior", "Role", "Space"), "maestune.space"),
    "Run": "maestune.training.run",
    **dict.fromkeys(("Config", "Objective", "Report", "Score"), "maestune.types"),
    **dict.fromkeys(("Result", "open_campaign", "run_campaign", "score", "tune"), "maestune.api"),
    **dict.fromkeys(("Campaign", "Record", "Settings", "Verdict"), "maestune.campaign"),
    **dict.fromkeys(("STRATEGIES", "Strategy"), "maestune.search"),
    "ScoreResult": "maestune.quality.scoring.result",
}


def __getattr__(name: str) -> Any:
    """The public names, imported when first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module 'maestune' has no attribute {name!r}")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
