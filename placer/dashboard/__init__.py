"""The terminal dashboard of a running server (Textual)."""
