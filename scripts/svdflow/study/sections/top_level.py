"""Keys that stand at the top of a config."""

from typing import Annotated

from pydantic import Field

from svdflow.registry.options import MOST, Matches, Options


class Pathvars(Options):
    """Where results go; a second study names its own folder here."""

    results: Annotated[str, Matches("/?[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")] = Field(
        default="results",
        description="Folder of everything that a run writes (letters, digits, `.`, `_`, `-` and, between "
        "folders, `/`).",
    )


class TopLevel(Options):
    """What is of no section."""

    title: str = Field(default="svdflow", description="Title of the report.")
    seed: int = Field(default=42, ge=0, le=2**32 - 1, description="Seed of everything random.")
    datasets: str = Field(
        default="config/datasets.tsv", description="The sheet of datasets, one row an experiment."
    )
    pathvars: Pathvars = Field(default_factory=Pathvars, description=Pathvars.__doc__)
    allow_errors: int = Field(
        default=0,
        ge=0,
        le=MOST,
        description="A run with more bad items than this fails at its end, the report standing. Rows of the code "
        "`not_applicable` are no failures and do not count.",
    )
