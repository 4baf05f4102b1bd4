"""Training: a packaged Spark application fits a model, its predictions are judged, and a gate says whether they do."""
