"""The options that several commands of `oedi-spark` have."""

from __future__ import annotations

from typing import Annotated

import typer

ConfigOption = Annotated[
    str, typer.Option("--config", help="The YAML file of the run, here or at s3://bucket/key.")
]
"""A text, not a path: a path would make `s3:/bucket` of `s3://bucket`."""
