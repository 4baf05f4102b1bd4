"""airflow-dataflow: the nightly data flow of an AI data centre, run by Apache Airflow.

The library, which never imports Airflow:

- ``errors``: what can go wrong, and whether a retry helps
- ``datasets``: names, versions, manifests, and the catalog that lists them
- ``storage``: tiers, and how a version becomes visible in one
- ``transfer``: how bytes move
- ``engines``: the few primitives that run a kernel over many files
- ``ingest``, ``cleaning``, ``features``, ``training``: what happens to the rows

The Airflow side, which calls it: ``operators``, ``sensors``, ``hooks``, ``triggers``, ``plugin``.
For people: ``cli`` and ``demo``.
"""

__version__ = "0.1.0"
