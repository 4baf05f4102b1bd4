"""Cleaning: rules that reject, edit and explain, one file each, and what runs them over a dataset."""
