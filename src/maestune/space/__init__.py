"""What may vary: parameters, priors, conditions, the unit cube."""

from maestune.space.params import Choice as Choice
from maestune.space.params import Float as Float
from maestune.space.params import Int as Int
from maestune.space.params import Param as Param
from maestune.space.params import Prior as Prior
from maestune.space.params import Role as Role
from maestune.space.space import Space as Space
