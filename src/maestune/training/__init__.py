"""How it is trained: the loop, optimisers, schedules and checkpoints."""

from maestune.training.checkpoint import load_checkpoint as load_checkpoint
from maestune.training.checkpoint import save_checkpoint as save_checkpoint
from maestune.training.loop import family_training as family_training
from maestune.training.loop import train as train
from maestune.training.run import Run as Run
from maestune.training.run import Training as Training
