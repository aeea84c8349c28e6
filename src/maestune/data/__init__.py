"""What is learnt from."""

from maestune.data.image_data import ImageData as ImageData
from maestune.data.image_data import Images as Images
from maestune.data.image_data import to_float as to_float
from maestune.data.image_data import to_uint8 as to_uint8
