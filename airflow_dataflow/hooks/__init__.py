"""Hooks: how a task reaches the store and its storage through Airflow's connections."""
