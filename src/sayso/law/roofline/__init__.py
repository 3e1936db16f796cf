"""The roofline: how fast a machine can run a model, from its products, its bandwidth, and what it costs to begin."""
