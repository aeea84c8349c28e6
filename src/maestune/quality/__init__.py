"""How good samples are: features, one file per kind of metric, intervals, and the judge who applies them."""

from maestune.quality.cache import prepare_extractor as prepare_extractor
from maestune.quality.catalogue import DESCRIBED as DESCRIBED
from maestune.quality.catalogue import METRICS as METRICS
from maestune.quality.catalogue import find_metric as find_metric
from maestune.quality.extractor import Extractor as Extractor
from maestune.quality.extractor import make_extractor as make_extractor
from maestune.quality.judge import Judge as Judge
from maestune.quality.judge import available_metrics as available_metrics
from maestune.quality.judge import default_n_samples as default_n_samples
from maestune.quality.metric import Metric as Metric
from maestune.quality.self_test import SelfTest as SelfTest
from maestune.quality.self_test import self_test as self_test
