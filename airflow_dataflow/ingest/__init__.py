"""Raw files in, typed Parquet out: how a night's landing files become a version of a dataset."""
