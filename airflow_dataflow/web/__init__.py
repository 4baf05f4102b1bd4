"""What Airflow's web server shows of the store."""
