"""Log-probabilities of texts that continue a context, by a model here or behind a server."""
