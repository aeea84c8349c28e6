"""Flow matching: images from noise, as a caption or a label asks for."""

from maestune.families.flow.family import Flow as Flow
