"""What exists: names, versions and manifests of datasets, and the catalog that lists them."""
