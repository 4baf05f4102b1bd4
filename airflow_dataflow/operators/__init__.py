"""Operators: thin, one module per domain; the work is done by the library package of the same name."""
