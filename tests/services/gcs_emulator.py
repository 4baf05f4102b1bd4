"""Runs gcp-storage-emulator with some things that Google documents and the emulator leaves out.

These are conditions on generations (of writes, reads, rewrites and composed objects), the storage class in the body of
a rewrite, and the end of an upload by DELETE. All else, and the protocol, is the emulator's. It serves one request at a
time, so looking and writing are one step.

    python gcs_emulator.py PORT
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects

Handler = Callable[..., Any]
_CANCELLED = SimpleNamespace(value=499, phrase="Client Closed Request")
_uploads: dict[str, str] = {}
"""Condition of each upload that has one."""


def _generation(storage: Any, bucket: str, name: str) -> str:
    """Return the generation of an object, ``"0"`` when there is none."""
    try:
        return str(storage.get_file_obj(bucket, name)["generation"])
    except NotFound:
        return "0"


def _refuse(response: Any) -> None:
    response.status = HTTPStatus.PRECONDITION_FAILED
    response.json({"error": {"code": 412, "message": "At least one of the pre-conditions you specified did not hold."}})


def _name(request: Any) -> str:
    if "name" in request.query:
        return str(request.query["name"][0])
    data = request.data or {}
    return str(data.get("meta", data)["name"])


def insert(request: Any, response: Any, storage: Any, *args: Any, **kwargs: Any) -> None:
    """Look at the condition when an upload begins and, as that may take hours, when it ends."""
    upload = request.query.get("upload_id", [None])[0]
    wanted = _uploads.get(upload) if upload else request.query.get("ifGenerationMatch", [None])[0]
    if wanted is not None:
        name = storage.get_resumable_file_obj(upload)["name"] if upload else _name(request)
        if _generation(storage, request.params["bucket_name"], name) != wanted:
            _refuse(response)
            return
    original_insert(request, response, storage, *args, **kwargs)
    location = response._headers.get("Location")
    if wanted is not None and location:
        _uploads[location.rpartition("upload_id=")[2]] = wanted


def rewrite(request: Any, response: Any, storage: Any, *args: Any, **kwargs: Any) -> None:
    """Look at the conditions, and give the copy the class that was asked for."""
    params, query = request.params, request.query
    places = {
        "ifGenerationMatch": (params["dest_bucket_name"], params["dest_object_id"]),
        "ifSourceGenerationMatch": (params["bucket_name"], params["object_id"]),
    }
    for condition, place in places.items():
        if condition in query and _generation(storage, *place) != query[condition][0]:
            _refuse(response)
            return
    original_rewrite(request, response, storage, *args, **kwargs)
    place = places["ifGenerationMatch"]
    if request.data and _generation(storage, *place) != "0":
        found = storage.get_file_obj(*place)
        found |= {key: value for key, value in request.data.items() if key in ("storageClass", "contentType")}
        storage.patch_object(*place, found)


def get(request: Any, response: Any, storage: Any, *args: Any, **kwargs: Any) -> None:
    """Look at the condition of a reader."""
    wanted = request.query.get("ifGenerationMatch", [None])[0]
    found = _generation(storage, request.params["bucket_name"], request.params["object_id"])
    if wanted not in (None, found) and found != "0":
        _refuse(response)
        return
    original_get(request, response, storage, *args, **kwargs)


def compose(request: Any, response: Any, storage: Any, *args: Any, **kwargs: Any) -> None:
    """Look at the conditions of the target and of each part."""
    bucket = request.params["bucket_name"]
    conditions = {request.params["object_id"]: request.query.get("ifGenerationMatch", [None])[0]}
    for part in request.data["sourceObjects"]:
        conditions[part["name"]] = part.get("objectPreconditions", {}).get("ifGenerationMatch")
    for name, wanted in conditions.items():
        found = _generation(storage, bucket, name)
        if wanted not in (None, found) and (found != "0" or name == request.params["object_id"]):
            _refuse(response)
            return
    original_compose(request, response, storage, *args, **kwargs)


def cancel(request: Any, response: Any, storage: Any, *_args: Any, **_kwargs: Any) -> None:
    """End an upload."""
    upload = request.query["upload_id"][0]
    _uploads.pop(upload, None)
    storage.delete_resumable_file_obj(upload)
    response.status = _CANCELLED


original_insert, original_rewrite = objects.insert, objects.rewrite
original_get, original_compose = objects.get, objects.compose


def _extended(handlers: dict[str, Handler]) -> dict[str, Handler]:
    replaced = {
        original_insert: insert,
        original_rewrite: rewrite,
        original_get: get,
        original_compose: compose,
    }
    extended = {method: replaced.get(handler, handler) for method, handler in handlers.items()}
    return extended | ({"DELETE": cancel} if original_insert in handlers.values() else {})


def main() -> None:
    """Serve until the process is ended."""
    server.HANDLERS = tuple((pattern, _extended(handlers)) for pattern, handlers in server.HANDLERS)
    server.create_server("127.0.0.1", int(sys.argv[1]), in_memory=True).run()


if __name__ == "__main__":
    main()
