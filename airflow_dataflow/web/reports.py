"""The reports of versions, served by Airflow's web server to those who may see assets."""

from __future__ import annotations

from airflow.api_fastapi.core_api.security import requires_access_asset
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import HTMLResponse

from airflow_dataflow.datasets.name import check_dataset_name, check_version_id
from airflow_dataflow.errors import InvalidInputError, NotFoundError
from airflow_dataflow.hooks.dataflow import DataflowHook

_REPORT = "report.html"
_HEADERS = {
    # A report quotes data from outside; whatever it quotes, it can run nothing, load nothing and send nothing.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'; sandbox"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private",
}


def create_app() -> FastAPI:
    """Return the app that serves ``/<connection>/<dataset>/<version>``."""
    app = FastAPI(title="Dataflow reports", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/{dataflow_conn_id}/{dataset:path}/{version}", dependencies=[Depends(requires_access_asset("GET"))])
    def report(dataflow_conn_id: str, dataset: str, version: str) -> HTMLResponse:
        """Return the report of a version."""
        try:
            reference = f"{check_dataset_name(dataset)}@{check_version_id(version)}"
            store = DataflowHook(dataflow_conn_id).store
            page = store.directory(store.manifest(reference)).read(_REPORT)
        except (InvalidInputError, NotFoundError) as error:
            raise HTTPException(404, str(error)) from error
        return HTMLResponse(page, headers=_HEADERS)

    return app
