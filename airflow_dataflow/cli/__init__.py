"""The command line: ``dataflow …``, and the same commands as ``airflow dataflow …``.

``commands`` is the one table of commands; ``main`` and ``airflow_group`` build their parsers from it. The functions
that it names are in the other files and import what they need when they are called.
"""
