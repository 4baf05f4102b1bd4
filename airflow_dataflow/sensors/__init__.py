"""Sensors: what a pipeline waits for, without holding a worker."""
