"""placer's formula beside the engine's own figures, over models and placements."""
