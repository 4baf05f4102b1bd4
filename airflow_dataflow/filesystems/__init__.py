"""File systems that Airflow's ``ObjectStoragePath`` opens through connections, one file each."""
