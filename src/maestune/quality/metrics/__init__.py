"""One file per kind of metric: features in, values out; pure, float64, sources named."""
