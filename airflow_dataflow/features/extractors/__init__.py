"""Extractors: one file each, named after its key in recipes; the folder is the registry."""
