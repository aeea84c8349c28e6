"""How good texts are: statistics of words, distances between sets of texts, copies of the training text, and their evaluator."""

from maestune.quality.text.catalogue import TEXT_METRICS as TEXT_METRICS
from maestune.quality.text.catalogue import find_text_metric as find_text_metric
from maestune.quality.text.copying import Known as Known
from maestune.quality.text.text_evaluator import DEFAULT_TEXTS as DEFAULT_TEXTS
from maestune.quality.text.text_evaluator import TextEvaluator as TextEvaluator
from maestune.quality.text.text_evaluator import known_text as known_text
from maestune.quality.text.text_models import TextModels as TextModels
from maestune.quality.text.text_models import prepare_text_models as prepare_text_models
from maestune.quality.text.texts import TextMetric as TextMetric
