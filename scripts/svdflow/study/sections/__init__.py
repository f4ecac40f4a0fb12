"""The sections of a config, each a class of options in a file of its own; those of tasks stand with the tasks."""

from functools import cache
from typing import Any

from pydantic import Field, create_model

from svdflow.registry import TASKS
from svdflow.registry.options import Options
from svdflow.study.sections.audit import AuditSection
from svdflow.study.sections.factorize import FactorizeSection
from svdflow.study.sections.ingest import IngestSection
from svdflow.study.sections.runtime import RuntimeSection
from svdflow.study.sections.top_level import TopLevel


def sections() -> dict[str, type[Options]]:
    """The sections by name, in the order of a study: those of the tasks stand in the middle."""
    first: dict[str, type[Options]] = {"ingest": IngestSection, "factorize": FactorizeSection}
    last: dict[str, type[Options]] = {"audit": AuditSection, "runtime": RuntimeSection}
    tasks = {task.key: task.options for task in TASKS.values() if task.key not in {**first, **last}}
    return {**first, **tasks, **last}


@cache
def config_model() -> type[Options]:
    """All that a config can hold, as one class of options."""
    fields: dict[str, Any] = {
        name: (section, Field(default_factory=section, description=section.__doc__))
        for name, section in sections().items()
    }
    return create_model("Config", __base__=TopLevel, __doc__="config.yaml", **fields)
