"""`maestune score`: samples of anybody held against real data, with what makes the values mean something."""
