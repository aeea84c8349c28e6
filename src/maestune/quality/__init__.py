"""How good samples are: features, one file per kind of metric, intervals, and the evaluator who applies them."""

from maestune.quality.available import available_metrics as available_metrics
from maestune.quality.catalogue import DESCRIBED as DESCRIBED
from maestune.quality.catalogue import METRICS as METRICS
from maestune.quality.catalogue import find_metric as find_metric
from maestune.quality.evaluator import Evaluator as Evaluator
from maestune.quality.features.cache import prepare_extractor as prepare_extractor
from maestune.quality.features.choice import AUTO as AUTO
from maestune.quality.features.choice import choose as choose
from maestune.quality.features.choice import choose_caption_encoder as choose_caption_encoder
from maestune.quality.features.choice import choose_second as choose_second
from maestune.quality.features.choice import resolved_features as resolved_features
from maestune.quality.features.extractor import Extractor as Extractor
from maestune.quality.features.extractor import make_extractor as make_extractor
from maestune.quality.features.self_test import SelfTest as SelfTest
from maestune.quality.features.self_test import refusal as refusal
from maestune.quality.features.self_test import self_test as self_test
from maestune.quality.features.vqa import check_vqa as check_vqa
from maestune.quality.features.vqa import choose_vqa_scorer as choose_vqa_scorer
from maestune.quality.features.vqa import resolved_vqa as resolved_vqa
from maestune.quality.features.vqa import unload as unload
from maestune.quality.image_evaluator import ImageEvaluator as ImageEvaluator
from maestune.quality.image_evaluator import default_n_samples as default_n_samples
from maestune.quality.metric import Metric as Metric
from maestune.quality.text import TEXT_METRICS as TEXT_METRICS
from maestune.quality.text import TextEvaluator as TextEvaluator
