"""The demo: nights of the refresh on samples, or one night on a person's own file, run by Airflow itself."""
