"""What is learnt from."""

from maestune.data.grid import grid_image as grid_image
from maestune.data.grid import save_png as save_png
from maestune.data.image_data import ImageData as ImageData
from maestune.data.image_data import Images as Images
from maestune.data.image_data import to_float as to_float
from maestune.data.image_data import to_uint8 as to_uint8
from maestune.data.load import load_images as load_images
from maestune.data.source import Data as Data
from maestune.data.source import load_data as load_data
from maestune.data.spec import Batch as Batch
from maestune.data.spec import DataSpec as DataSpec
from maestune.data.spec import Modality as Modality
from maestune.data.spec import Split as Split
from maestune.data.text import TextData as TextData
from maestune.data.text import load_text as load_text
