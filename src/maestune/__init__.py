"""maestune tunes generative models for what they generate.

The public contract; everything else may change. Importing it has no side effects.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from maestune.data import Batch as Batch
from maestune.data import DataSpec as DataSpec
from maestune.data import ImageData as ImageData
from maestune.data import TextData as TextData
from maestune.data import load_images as load_images
from maestune.data import to_float as to_float
from maestune.errors import MaestuneError as MaestuneError
from maestune.families import Draw as Draw
from maestune.families import Hyper as Hyper
from maestune.families import Network as Network
from maestune.families import Noise as Noise
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
    from maestune.quality.scoring.result import ScoreResult as ScoreResult
    from maestune.search import STRATEGIES as STRATEGIES
    from maestune.search import Strategy as Strategy

# Where the rest is. It comes with a database and statistics, which take a second to import; worker processes, which import
# this file too, need neither.
_LATER = {
    **dict.fromkeys(("Result", "open_campaign", "run_campaign", "score", "tune"), "maestune.api"),
    **dict.fromkeys(("Campaign", "Record", "Settings", "Verdict"), "maestune.campaign"),
    **dict.fromkeys(("STRATEGIES", "Strategy"), "maestune.search"),
    "ScoreResult": "maestune.quality.scoring.result",
}


def __getattr__(name: str) -> Any:
    """The names that are imported when first asked for."""
    if name not in _LATER:
        raise AttributeError(f"module 'maestune' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
