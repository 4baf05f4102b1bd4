"""Decisions made of graphs and numbers alone: nothing here opens a store, a database or a network."""
