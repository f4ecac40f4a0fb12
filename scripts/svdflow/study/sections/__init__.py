"""The sections of a config, each a class of options in a file of its own; those of tasks stand with the tasks."""

from functools import cache
from typing import Any

from pydantic import Field, create_model

from svdflow.registry.options import Options
from svdflow.registry.tasks.compress import CompressOptions
from svdflow.registry.tasks.denoise import DenoiseOptions
from svdflow.registry.tasks.encode import EncodeOptions
from svdflow.study.sections.audit import AuditSection
from svdflow.study.sections.factorize import FactorizeSection
from svdflow.study.sections.ingest import IngestSection
from svdflow.study.sections.runtime import RuntimeSection
from svdflow.study.sections.top_level import TopLevel


def sections() -> dict[str, type[Options]]:
    """The sections by name, in the order of a study: those of the tasks stand in the middle."""
    tasks: dict[str, type[Options]] = {
        "compress": CompressOptions,
        "denoise": DenoiseOptions,
        "encode": EncodeOptions,
    }
    return {
        "ingest": IngestSection,
        "factorize": FactorizeSection,
        **tasks,
        "audit": AuditSection,
        "runtime": RuntimeSection,
    }


@cache
def config_model() -> type[Options]:
    """All that a config can hold, as one class of options."""
    fields: dict[str, Any] = {
        name: (section, Field(default_factory=section, description=section.__doc__))
        for name, section in sections().items()
    }
    return create_model("Config", __base__=TopLevel, __doc__="config.yaml", **fields)
