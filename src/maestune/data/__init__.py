"""What is learnt from."""

from maestune.data.grid import grid_image as grid_image
from maestune.data.grid import save_png as save_png
from maestune.data.image_data import ImageData as ImageData
from maestune.data.image_data import Images as Images
from maestune.data.image_data import to_float as to_float
from maestune.data.image_data import to_uint8 as to_uint8
from maestune.data.load import load_images as load_images
