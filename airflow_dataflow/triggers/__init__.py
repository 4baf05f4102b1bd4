"""Triggers: the waiting itself, in Airflow's triggerer."""
