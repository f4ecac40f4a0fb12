"""conditioning: how well conditioned the planes of a shard are, and how good their factors."""

from dataclasses import replace
from typing import Any

from svdflow.registry import IMAGE_FORMATS, MATRIX_FORMATS
from svdflow.registry.audit_tables import AUDIT, CURVES, flat_thresholds
from svdflow.registry.task import Asked, Task
from svdflow.registry.tasks.compress import listed_rank


def settings(asked: Asked) -> dict[str, Any]:
    """The first items of a dataset, which stay the same as others are added, get a decomposition of their own."""
    return {
        "items": [index for index in asked.items if index < asked.options["sample"]],
        "full_up_to": asked.options["full_up_to"],
        "thresholds": flat_thresholds(asked.options["thresholds"]),
    }


def rank(asked: Asked) -> int:
    """What is audited is what compression would rest on."""
    return listed_rank(replace(asked, section="compress"))


DECLARED = [
    Task(
        name="conditioning",
        aliases=("audit",),
        summary="Say how well conditioned the planes of a shard are, and how good their factors.",
        tables=(AUDIT, CURVES),
        section="audit",
        folder="audit",
        threads=1,
        unused=(IMAGE_FORMATS, MATRIX_FORMATS),  # a shard holds values
        by_default=True,
        selfcheck=True,
        settings=settings,
        rank=rank,
        load="svdflow.audit.conditioning:audit_conditioning_shard",
    )
]
