"""maestune tunes generative models for what they generate."""
