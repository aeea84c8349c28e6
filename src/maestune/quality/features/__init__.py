"""What evaluators see with: networks that turn images into features, how they learn, and the test they must pass."""
