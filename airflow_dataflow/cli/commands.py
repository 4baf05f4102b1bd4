"""The table of commands: the only place where their names and arguments are written."""

from __future__ import annotations

from airflow_dataflow.cli.arguments import STORE, Argument, Command
from airflow_dataflow.cli.transfer_arguments import TRANSFER

RECIPE = Argument(flags=("--recipe",), help="recipe file (YAML or JSON)", required=True, metavar="FILE")
REFIT = Argument(
    flags=("--refit",),
    help="learn bounds, vocabularies and the like anew, instead of taking those of the newest version",
    action="store_true",
)
VERSION = Argument(
    flags=("input",), help="folder that holds a version, or reference such as support/clean@latest", metavar="INPUT"
)
OUTPUT = Argument(
    flags=("output",), help="new folder, or when INPUT is a reference a dataset of the store", metavar="OUTPUT"
)
REFERENCES = Argument(
    flags=("references",),
    help="versions such as support/clean@latest, or datasets with all their versions; everything when none",
    nargs="*",
    metavar="REFERENCE",
)

GROUPS = {
    "datasets": "Look after datasets and their versions",
    "tiers": "Look after the places that hold versions",
    "catalog": "Look after the database that lists versions",
}

COMMANDS = (
    Command(
        name="demo",
        help="Run nights of the data flow under a real Airflow: two on samples, or one on your own file",
        function="demo:demo",
        prints_itself=True,
        arguments=(
            Argument(
                flags=("--input",),
                help="your own file (CSV, JSON Lines or Parquet): run one night on it",
                metavar="FILE",
            ),
            Argument(flags=("--text",), help="its column of texts", metavar="COLUMN"),
            Argument(flags=("--label",), help="its column that a model shall predict", metavar="COLUMN"),
            Argument(flags=("--id",), help="its column that names a row (default: row number)", metavar="COLUMN"),
            Argument(
                flags=("--tiers",),
                help="local: three folders (default); hdfs: a folder, an HDFS that the demo starts, and S3",
                choices=("local", "hdfs"),
            ),
            Argument(flags=("--ui",), help="leave Airflow running until Ctrl-C", action="store_true"),
            Argument(
                flags=("--home",),
                help="folder for all that the demo makes (default .demo)",
                default=".demo",
                metavar="FOLDER",
            ),
            Argument(
                flags=("--port",),
                help="port of the web UI (default: any free one)",
                type=int,
                default=0,
                metavar="PORT",
            ),
        ),
    ),
    Command(
        name="clean",
        help="Clean rows by the rules of a recipe; every rejected row is kept in the quarantine with its reason",
        function="stages:clean",
        arguments=(
            Argument(
                flags=("input",),
                help="file, folder, pattern or URL of raw files, folder that holds a version, or reference",
                metavar="INPUT",
            ),
            OUTPUT,
            RECIPE,
            REFIT,
            *STORE,
        ),
    ),
    Command(
        name="features",
        help="Extract the features that a recipe names, divided into training, validation and test rows",
        function="stages:extract_features",
        arguments=(VERSION, OUTPUT, RECIPE, REFIT, *STORE),
    ),
    Command(
        name="train",
        help="Fit a model to features, inside Spark",
        function="stages:train",
        arguments=(
            Argument(flags=("trainer",), help="name of a trainer, e.g. logistic_regression", metavar="TRAINER"),
            VERSION,
            OUTPUT,
            Argument(
                flags=("--param",),
                help="parameter of the trainer, e.g. regularisation=0.1; may be repeated",
                action="append",
                default=[],
                metavar="NAME=VALUE",
            ),
            *STORE,
        ),
    ),
    Command(
        name="evaluate",
        help="Judge a model on the test rows of features: precision, recall, F1 and support of each class",
        function="stages:evaluate",
        arguments=(
            Argument(flags=("model",), help="folder that holds a model, or its reference", metavar="MODEL"),
            VERSION,
            Argument(
                flags=("--output",),
                help="new folder, or dataset, for the report (default: none, or the dataset MODEL/evaluation)",
                metavar="OUTPUT",
            ),
            *STORE,
        ),
    ),
    Command(
        name="transfer",
        help="Copy a version to a tier, publish it to a URL or load it into a table, or copy files",
        function="transfer:transfer",
        arguments=(*TRANSFER, *STORE),
    ),
    Command(
        name="replicate",
        help="Send a version to many sites, along the tree of least time or cost; sites pass it on as it arrives",
        function="replicate:replicate",
        arguments=(
            Argument(flags=("reference",), help="version such as support/clean@latest", metavar="REFERENCE"),
            Argument(
                flags=("--topology",),
                help="file with 'sites', and 'links' or 'switches' between them (YAML or JSON)",
                required=True,
                metavar="FILE",
            ),
            Argument(
                flags=("--source",),
                help="site that has the version (default: the first one whose tier holds it)",
                metavar="SITE",
            ),
            Argument(
                flags=("--to",),
                help="site that wants it; may be repeated (default: all others)",
                action="append",
                default=[],
                metavar="SITE",
            ),
            Argument(
                flags=("--objective",),
                help="what the tree makes as small as possible: time (default) or cost",
                default="time",
                choices=("time", "cost"),
            ),
            Argument(
                flags=("--relay",),
                help="site that may pass it on, and then keeps a copy, although it is no target; may be repeated",
                action="append",
                default=[],
                metavar="SITE",
            ),
            Argument(
                flags=("--at",),
                help="do the work of this site only; may be repeated (default: of all sites)",
                action="append",
                default=[],
                metavar="SITE",
            ),
            Argument(
                flags=("--patience-seconds",),
                help="how long a site may send nothing before the one above it takes its place (default 300)",
                type=float,
                default=300.0,
                metavar="SECONDS",
            ),
            Argument(flags=("--dry-run",), help="print the tree and its arithmetic only", action="store_true"),
            *STORE,
        ),
    ),
    Command(
        name="datasets list",
        help="List the datasets: versions, rows, bytes, and where the newest version lies",
        function="datasets:list_datasets",
        arguments=STORE,
    ),
    Command(
        name="datasets show",
        help="Show the manifest of a version",
        function="datasets:show_version",
        arguments=(
            Argument(flags=("reference",), help="version such as support/clean@latest", metavar="REFERENCE"),
            *STORE,
        ),
    ),
    Command(
        name="datasets reads",
        help="Show who has read versions: when, from which tier, how many bytes, which task or command",
        function="datasets:show_reads",
        arguments=(
            Argument(
                flags=("dataset",), help="name of a dataset; all datasets when none", nargs="?", metavar="DATASET"
            ),
            Argument(
                flags=("--days",),
                help="how far to look back (default 30)",
                type=float,
                default=30.0,
                metavar="DAYS",
            ),
            *STORE,
        ),
    ),
    Command(
        name="datasets verify",
        help="Read copies of versions back, every file, and compare them with their manifests",
        function="datasets:verify_versions",
        arguments=(
            REFERENCES,
            Argument(
                flags=("--tier",),
                help="only copies on this tier; may be repeated (default: all tiers)",
                action="append",
                default=[],
                metavar="TIER",
            ),
            Argument(
                flags=("--repair",),
                help="write files that are bad anew, from another copy that has them whole",
                action="store_true",
            ),
            *STORE,
        ),
    ),
    Command(
        name="datasets sweep",
        help="Remove what killed processes left, version folders without a manifest, and forget old reads",
        function="datasets:sweep_datasets",
        arguments=(
            Argument(
                flags=("--grace-hours",),
                help="leave alone what changed in the last hours (default 24)",
                type=float,
                default=24.0,
                metavar="HOURS",
            ),
            Argument(
                flags=("--keep-reads-days",),
                help="forget who has read what longer ago (default 400)",
                type=float,
                default=400.0,
                metavar="DAYS",
            ),
            *STORE,
        ),
    ),
    Command(
        name="catalog rebuild",
        help="Restore the catalog from the manifests in storage",
        function="datasets:rebuild_catalog",
        arguments=STORE,
    ),
    Command(
        name="catalog upgrade",
        help="Bring the catalog's tables to this release's schema",
        function="datasets:upgrade_catalog",
        arguments=STORE,
    ),
    Command(
        name="tiers status",
        help="Show each tier: versions, bytes, free space",
        function="datasets:show_tiers",
        arguments=STORE,
    ),
    Command(
        name="doctor",
        help="Check this machine and say what to do where something is missing",
        function="doctor:examine",
        arguments=(
            Argument(
                flags=("--url",),
                help="also check that this place can be written, e.g. s3://bucket/prefix",
                metavar="URL",
            ),
            Argument(
                flags=("--tiers",),
                help="hdfs: also check for what 'dataflow demo --tiers hdfs' needs",
                choices=("local", "hdfs"),
            ),
            *STORE,
        ),
    ),
)
