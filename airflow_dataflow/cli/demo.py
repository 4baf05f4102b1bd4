"""``dataflow demo``: nights of the data flow under a real Airflow."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from airflow_dataflow.cli.output import Answer
from airflow_dataflow.progress import Progress


def demo(arguments: Namespace, _progress: Progress) -> Answer:
    """Run the demo, which prints its report itself."""
    from airflow_dataflow.demo.options import DemoOptions
    from airflow_dataflow.demo.run import run_demo

    code = run_demo(
        DemoOptions(
            home=Path(arguments.home),
            input=Path(arguments.input) if arguments.input else None,
            text=arguments.text,
            label=arguments.label,
            id=arguments.id,
            ui=arguments.ui,
            port=arguments.port,
            tiers=arguments.tiers,
        )
    )
    return Answer({"succeeded": code == 0}, rows=(), succeeded=code == 0)
