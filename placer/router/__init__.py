"""llama-server's own router: which models, and how many at once."""
