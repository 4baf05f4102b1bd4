"""The catalog: a database that lists datasets, versions and where each version lies.

It is an index. Manifests are the truth, and :meth:`airflow_dataflow.storage.store.Store.rebuild` restores it from them.
"""
