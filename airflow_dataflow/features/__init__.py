"""Features: numbers that a model learns from, made from cleaned rows by extractors whose state is kept."""
