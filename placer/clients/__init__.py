"""Settings of the usual OpenAI-compatible tools for a served profile."""
