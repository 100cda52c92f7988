"""Models of published shape."""

BIG = {}
