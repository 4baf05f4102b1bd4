"""The arguments of ``dataflow transfer``."""

from __future__ import annotations

from argparse import BooleanOptionalAction

from airflow_dataflow.cli.arguments import Argument

TRANSFER = (
    Argument(
        flags=("source",),
        help="reference, or URL or path of a file, folder or pattern; or several of one kind",
        nargs="+",
        metavar="SOURCE",
    ),
    Argument(
        flags=("target",),
        help="name of a tier, or URL or path; s3://CONNECTION@bucket/prefix uses an Airflow connection; "
        "postgresql://CONNECTION@/schema.table and mysql://CONNECTION@/table are tables",
        metavar="TARGET",
    ),
    Argument(
        flags=("--resume",),
        help="go on where an attempt before this one has ended (default), or begin large files anew (--no-resume)",
        action=BooleanOptionalAction,
        default=True,
    ),
    Argument(
        flags=("--verify",),
        help="auto: read back what the target does not check itself (default); full: read back everything",
        default="auto",
        choices=("auto", "full"),
    ),
    Argument(
        flags=("--compress",),
        help="how the target stores files: off (default), a Zstandard level from -7 to 19, or auto: as suits the link",
        default="off",
        metavar="LEVEL",
    ),
    Argument(flags=("--pack",), help="put small files together in packs", action="store_true"),
    Argument(flags=("--mirror",), help="in the end remove files that the source does not have", action="store_true"),
    Argument(
        flags=("--most-removed",),
        help="share of the target's files that --mirror may remove; if it were more, nothing is (default 0.5)",
        type=float,
        default=0.5,
        metavar="FRACTION",
    ),
    Argument(
        flags=("--skip",),
        help="how files that need no copy are found: by digest (default), or by stamp, that is size and time of change",
        default="digest",
        choices=("digest", "stamp"),
    ),
    Argument(flags=("--limit",), help="most bytes to send in a second, e.g. 20MB (default: no limit)", metavar="BYTES"),
    Argument(
        flags=("--parts-at-once",),
        help="parts or files in flight at a time (default: what both stores like)",
        type=int,
        metavar="NUMBER",
    ),
    Argument(
        flags=("--limits-file",),
        help="file with 'bytes_per_second' and 'parts_at_once' (YAML or JSON), read again every few seconds; goes "
        "before --limit and --parts-at-once",
        metavar="FILE",
    ),
    Argument(flags=("--dry-run",), help="tell what would be done, and do nothing", action="store_true"),
    Argument(
        flags=("--mode",),
        help="how rows come into a table: replace (default), append or upsert",
        default="replace",
        choices=("replace", "append", "upsert"),
    ),
    Argument(
        flags=("--key",),
        help="column that tells the rows of a table apart, for upsert; may be repeated",
        action="append",
        default=[],
        metavar="COLUMN",
    ),
)
