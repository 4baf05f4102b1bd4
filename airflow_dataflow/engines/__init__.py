"""The few primitives that an engine supplies; rules and extractors are written once, against these."""
