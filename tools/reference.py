"""Write the reference pages from the code: `make docs`.

What a parameter means is written once, where the parameter is defined; a test compares the pages with what this makes.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from airflow_dataflow.cleaning.rule import RULES
from airflow_dataflow.cli.arguments import COMMON, Argument, Command
from airflow_dataflow.cli.commands import COMMANDS
from airflow_dataflow.features.extractor import EXTRACTORS
from airflow_dataflow.ingest.readers import READERS
from airflow_dataflow.registry import Registry
from airflow_dataflow.training.trainers import TRAINERS

PAGES = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE = "<!-- Made by `make docs` from the code; change the docstrings there. -->"
_REPEATED = {"*": "[{} …]", "?": "[{}]", "+": "{0} [{0} …]"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def recipe_rules() -> str:
    """Return the page about everything that a recipe can name."""
    return "\n".join(
        [
            "# Rules, extractors, trainers and readers",
            MADE,
            "",
            "Each is one file of the package, and its name is the file's name.",
            "",
            *units("Cleaning rules", "`rules:` of a recipe, applied in order.", RULES),
            *units("Feature extractors", "`features:` of a recipe.", EXTRACTORS),
            *units("Trainers", "`trainer` of `SparkTrainOperator` and of `dataflow train`.", TRAINERS),
            *units("Readers", "`readers` of `IngestDatasetOperator`, chosen by the suffix of a file.", READERS),
        ]
    )


def units(title: str, where: str, registry: Registry[Any]) -> Iterator[str]:
    """Yield the section about the units of a registry."""
    yield from (f"## {title}", "", where, "")
    for name in registry.names:
        unit = registry.get(name)
        yield from (f"### `{name}`", "", markdown(inspect.getdoc(unit) or ""), "")
        docs = field_docs(unit)
        hints = get_type_hints(unit, include_extras=True)
        rows = [
            (f"`{field.name}`", type_text(hints[field.name]), default_text(field), docs[field.name])
            for field in dataclasses.fields(unit)
        ]
        yield from table(("parameter", "type", "default", "meaning"), rows) if rows else ("It has no parameters.", "")


def field_docs(unit: type) -> dict[str, str]:
    """Return the docstrings under the fields of a class and of its bases."""
    docs = {}
    for base in reversed(unit.__mro__):
        if not base.__module__.startswith("airflow_dataflow."):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # type: ignore[attr-defined]
        for field, doc in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
                docs[ast.unparse(field.target)] = inspect.cleandoc(str(doc.value.value))
    return docs


def type_text(hint: Any) -> str:
    """Return a type as a reader knows it, with its bounds."""
    bounds = ""
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        limits = [limit for extra in extras for limit in getattr(extra, "metadata", ())]
        found = [
            f"{sign} {getattr(limit, name)}"
            for limit in limits
            for name, sign in BOUNDS.items()
            if hasattr(limit, name)
        ]
        bounds = ", " + ", ".join(found) if found else ""
    text = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
    return f"`{re.sub(r'[a-z_.]+[.](?=[A-Z])', '', text)}`{bounds}"


def default_text(field: dataclasses.Field[Any]) -> str:
    """Return a field's default."""
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.default_factory()!r}`"
    return "required"


def operators() -> str:
    """Return the page about the operators, sensors and triggers."""
    lines = [
        "# Operators, sensors and triggers",
        MADE,
        "",
        "All arguments are keywords; those of Airflow's `BaseOperator` are accepted too. *Templated* ones take Jinja.",
        "",
    ]
    for kind in ("operators", "sensors", "triggers"):
        lines += [f"## {kind.capitalize()}", ""]
        for module in public_modules(importlib.import_module(f"airflow_dataflow.{kind}")):
            for name, value in sorted(vars(module).items()):
                if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_"):
                    lines += airflow_class(value)
    return "\n".join(lines)


def public_modules(package: ModuleType) -> list[ModuleType]:
    """Return the modules of a package whose names have no leading underscore."""
    names = [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")]
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]


def airflow_class(kind: type) -> Iterator[str]:
    """Yield the section about an operator, sensor or trigger."""
    yield from (f"### `{kind.__name__}`", "", f"`from {kind.__module__} import {kind.__name__}`", "")
    yield from (markdown((inspect.getdoc(kind) or "").split("\n:param")[0]), "")
    rows: dict[str, tuple[str, str, str]] = {}
    for base in kind.__mro__:
        if base.__module__.startswith("airflow_dataflow."):
            signature = inspect.signature(vars(base).get("__init__", lambda: None))
            for name, meaning in param_docs(base).items():
                default = (
                    signature.parameters[name].default if name in signature.parameters else inspect.Parameter.empty
                )
                shown = "required" if default is inspect.Parameter.empty else f"`{default!r}`"
                rows.setdefault(name, (f"`{name}`", shown, meaning))
    yield from table(("argument", "default", "meaning"), rows.values())


def param_docs(kind: type) -> dict[str, str]:
    """Return what a class's own docstring says of its parameters."""
    found = re.findall(r"^:param (\w+): (.*?)(?=^:|\Z)", inspect.cleandoc(kind.__doc__ or ""), re.MULTILINE | re.DOTALL)
    return {name: meaning.strip() for name, meaning in found}


def cli() -> str:
    """Return the page about the command line."""
    lines = [
        "# Command line",
        MADE,
        "",
        "The same commands are there as `dataflow …` and as `airflow dataflow …`.",
        "",
        "Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted.",
        "Standard output holds the answer alone; errors (one line each), progress and logs go to standard error.",
        "",
        "Every command also takes:",
        "",
        *table(("argument", "meaning"), map(argument_row, COMMON)),
    ]
    for command in sorted(COMMANDS, key=lambda command: command.name):
        lines += [f"## `dataflow {usage(command)}`", "", f"{command.help}.", ""]
        if command.arguments:
            lines += table(("argument", "meaning"), map(argument_row, command.arguments))
    return "\n".join(lines)


def usage(command: Command) -> str:
    """Return a command with its positional and required arguments."""
    words = [command.name]
    for argument in command.arguments:
        if argument.required:
            words.append(f"{argument.flags[0]} {argument.metavar}")
        elif not argument.flags[0].startswith("-"):
            words.append(_REPEATED.get(argument.nargs or "", "{}").format(argument.metavar))
    return " ".join(words)


def argument_row(argument: Argument) -> tuple[str, str]:
    """Return an argument and what it means."""
    positional = not argument.flags[0].startswith("-")
    shown = argument.metavar if positional else " ".join(filter(None, (argument.flags[0], argument.metavar)))
    return f"`{shown}`", argument.help


def table(heads: tuple[str, ...], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return a table and an empty line."""
    lines = [
        heads,
        ["---"] * len(heads),
        *([" ".join(markdown(cell).split()).replace("|", "\\|") for cell in row] for row in rows),
    ]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def markdown(text: str) -> str:
    """Turn the few marks that our docstrings use into Markdown."""
    text = re.sub(r"\\? ?:sup:`([^`]*)`", r"^\1", text)
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


def pages() -> dict[str, str]:
    """Return the content of each page by its file name."""
    return {
        name: re.sub(r"\n{3,}", "\n\n", content.rstrip() + "\n")
        for name, content in (("recipe-rules.md", recipe_rules()), ("operators.md", operators()), ("cli.md", cli()))
    }


if __name__ == "__main__":
    for name, content in pages().items():
        PAGES.mkdir(parents=True, exist_ok=True)
        (PAGES / name).write_text(content)
