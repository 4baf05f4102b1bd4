"""What Airflow reads about this provider when it starts; imports nothing."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description in the form of Airflow's ``provider.yaml``."""
    return {
        "package-name": "airflow-dataflow",
        "name": "Dataflow",
        "description": (
            "Refreshes training datasets every night: ingest, clean, extract features, train with Spark, gate, "
            "publish, and move versions between storage tiers."
        ),
        "integrations": [{"integration-name": "Dataflow", "tags": ["software"]}],
        "operators": [
            {
                "integration-name": "Dataflow",
                "python-modules": [
                    "airflow_dataflow.operators.arrivals",
                    "airflow_dataflow.operators.cleaning",
                    "airflow_dataflow.operators.features",
                    "airflow_dataflow.operators.replication",
                    "airflow_dataflow.operators.storage",
                    "airflow_dataflow.operators.training",
                    "airflow_dataflow.operators.transfer",
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": "Dataflow",
                "python-modules": ["airflow_dataflow.sensors.datasets", "airflow_dataflow.sensors.storage"],
            }
        ],
        "hooks": [
            {
                "integration-name": "Dataflow",
                "python-modules": [
                    "airflow_dataflow.hooks.catalog",
                    "airflow_dataflow.hooks.database",
                    "airflow_dataflow.hooks.dataflow",
                    "airflow_dataflow.hooks.hdfs",
                    "airflow_dataflow.hooks.storage",
                ],
            }
        ],
        "triggers": [
            {
                "integration-name": "Dataflow",
                "python-modules": [
                    "airflow_dataflow.triggers.arrivals",
                    "airflow_dataflow.triggers.datasets",
                    "airflow_dataflow.triggers.storage",
                ],
            }
        ],
        "connection-types": [
            {
                "connection-type": "dataflow",
                "hook-class-name": "airflow_dataflow.hooks.dataflow.DataflowHook",
                "hook-name": "Dataflow store",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "login", "port", "extra"],
                    "relabeling": {"password": "Catalog password"},
                    "placeholders": {"password": "only if the catalog URL names a user without a password"},
                },
                "conn-fields": {
                    "catalog_url": {
                        "label": "Catalog URL",
                        "description": "SQLAlchemy URL of the database that lists datasets and versions, "
                        "e.g. sqlite:////data/catalog.db or postgresql+psycopg://user@host/dataflow",
                        "schema": {"type": ["string", "null"]},
                    },
                    "catalog_conn_id": {
                        "label": "Catalog connection",
                        "description": "in place of the URL: id of a connection of type postgres or mysql, whose "
                        "schema is the name of the catalog's database",
                        "schema": {"type": ["string", "null"]},
                    },
                    "tiers": {
                        "label": "Tiers",
                        "description": 'JSON list of the places that hold versions, e.g. [{"name": "hot", '
                        '"class": "hot", "url": "/data/hot"}, {"name": "cold", "class": "cold", '
                        '"url": "s3://bucket/cold", "conn_id": "aws_default"}]; class is hot, warm or cold',
                        "schema": {"type": ["string", "null"], "format": "multiline"},
                    },
                },
            }
        ],
        "filesystems": [
            "airflow_dataflow.filesystems.hdfs",
            "airflow_dataflow.filesystems.oss",
            "airflow_dataflow.filesystems.webhdfs",
        ],
        "asset-uris": [
            {
                "schemes": ["dataflow"],
                "handler": "airflow_dataflow.assets.sanitize_uri",
                "to_openlineage_converter": "airflow_dataflow.assets.convert_asset_to_openlineage",
            },
            {
                "schemes": ["hdfs", "webhdfs"],
                "handler": "airflow_dataflow.assets.sanitize_hdfs_uri",
                "to_openlineage_converter": "airflow_dataflow.assets.convert_hdfs_asset_to_openlineage",
            },
        ],
        "config": {
            "dataflow": {
                "description": "Where the reference DAGs of airflow-dataflow find and leave data.",
                "options": {
                    "landing_url": {
                        "description": "Folder in which raw files arrive. A URL may name the Airflow connection that "
                        "opens it, e.g. s3://aws_default@bucket/landing.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://aws_default@bucket/landing",
                        "default": "{AIRFLOW_HOME}/landing",
                    },
                    "publish_url": {
                        "description": "Folder to which finished versions are published, under <dataset>/<version>/. "
                        "A URL may name the Airflow connection that opens it.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://aws_default@bucket/published",
                        "default": "{AIRFLOW_HOME}/published",
                    },
                },
            }
        },
        "extra-links": ["airflow_dataflow.operators._links.ReportLink"],
        "cli": ["airflow_dataflow.cli.airflow_group.get_cli_commands"],
    }
