"""What runs inside Spark: one file per application, each called with the path of its job file."""
