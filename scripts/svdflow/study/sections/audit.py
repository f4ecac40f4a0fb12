"""Section ``audit``."""

from typing import Annotated, Any

from pydantic import Field

from svdflow.registry.limits import declared_limits
from svdflow.registry.options import MOST, UNIQUE, UNSET, ByName, Count, Matches, Options


class Limits(Options):
    """Limits of an audit, in place of the catalogue's."""

    warn: float = Field(default=UNSET, ge=0, description="WARN from here on.")
    fail: float = Field(default=UNSET, ge=0, description="FAIL from here on.")
    resolution: float = Field(
        default=UNSET, ge=0, description="The audit passes only if it could have seen an error of this size."
    )
    excuse: float = Field(
        default=UNSET, ge=0, description="An absolute error below this turns FAIL into INCONCLUSIVE."
    )


THRESHOLDS = ByName("Thresholds", lambda: dict.fromkeys(declared_limits(), Limits), elsewhere=True)


class AuditSection(Options):
    """What can be trusted."""

    strict: bool = Field(default=False, description="An audit that says FAIL or ERROR fails the run.")
    full_up_to: Count = Field(
        default=1024,
        description="Planes with sides up to this many pixels get a full decomposition of their own, if sampled.",
    )
    sample: int = Field(
        default=16,
        ge=0,
        le=MOST,
        description="How many items a dataset, the first ones, get the full panel; the rest get what the stored "
        "factors prove.",
    )
    mutants: bool = Field(
        default=True,
        description="Run the planted faults that the audits must catch, and report the share that they do. A survivor "
        "fails the run.",
    )
    functions_file: str = Field(
        default="",
        description="A Python file with functions or matrices of your own to audit; docs/auditing.md says what they "
        "return.",
    )
    functions: Annotated[list[Annotated[str, Matches("[A-Za-z_][A-Za-z0-9_]*")]], UNIQUE] = Field(
        default=[], description="Names of functions in functions_file."
    )
    baseline: str = Field(
        default="",
        description="The metrics.h5 of an earlier run; the report then says which audits changed since.",
    )
    thresholds: Annotated[dict[str, Any], THRESHOLDS] = Field(
        default={},
        description="Thresholds that differ from the catalogue's, such as `svd_residual: {fail: 30}`; docs/audits.md "
        "lists them.",
    )
