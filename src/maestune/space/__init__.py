"""What may vary: parameters, priors, conditions, the unit cube; what may differ among trainings that run as one."""

from maestune.space.current_priors import with_current_priors as with_current_priors
from maestune.space.fusible import Fusible as Fusible
from maestune.space.fusible import structure as structure
from maestune.space.fusible import within as within
from maestune.space.params import Choice as Choice
from maestune.space.params import Float as Float
from maestune.space.params import Int as Int
from maestune.space.params import Param as Param
from maestune.space.params import Prior as Prior
from maestune.space.params import Role as Role
from maestune.space.rescaling import rescale_rates as rescale_rates
from maestune.space.space import Space as Space
