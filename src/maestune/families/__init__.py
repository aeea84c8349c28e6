"""What is trained: kinds of generative models, their players, losses and samples."""

from maestune.families.base import Family as Family
from maestune.families.base import Hyper as Hyper
from maestune.families.base import Loss as Loss
from maestune.families.base import Noise as Noise
from maestune.families.base import NoiseSpec as NoiseSpec
from maestune.families.base import Player as Player
from maestune.families.base import Tensors as Tensors
from maestune.families.base import drawer as drawer
from maestune.families.fusing import why_not_fused as why_not_fused
from maestune.families.user_model import Network as Network
