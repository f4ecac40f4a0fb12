"""What can be chosen by name: declarations that say what a thing is, and where the code stands that does it.

A denoiser, rank rule, format, task and so on is declared in a module of the subpackage of its kind (a list
``DECLARED``), or by another distribution through an entry point of the group ``svdflow.denoisers`` and so on.
Declarations import nothing heavy, so that configuration, help and cost estimates are read off them while a workflow is
parsed; the code is imported when it is used. docs/contributing.md has a recipe for each kind.

>>> DENOISERS["wnnm"].works_on
'picture'
"""

from svdflow.registry.audit import Audit
from svdflow.registry.declaration import Declaration, Registry
from svdflow.registry.kinds import (
    ArchiveForm,
    Codec,
    Denoiser,
    Generator,
    ImageFormat,
    MatrixFormat,
    RankRule,
    Shrinker,
    SVDMethod,
)
from svdflow.registry.options import NoOptions, Options
from svdflow.registry.task import Asked, Task
from svdflow.registry.thresholds import Threshold

AUDITS: Registry[Audit] = Registry(Audit, "audit", "audits")
DENOISERS: Registry[Denoiser] = Registry(Denoiser, "denoiser", "denoisers")
RANK_RULES: Registry[RankRule] = Registry(RankRule, "rank rule", "rank_rules")
SHRINKERS: Registry[Shrinker] = Registry(Shrinker, "loss", "shrinkers")
SVD_METHODS: Registry[SVDMethod] = Registry(SVDMethod, "method", "svd_methods")
GENERATORS: Registry[Generator] = Registry(Generator, "synthetic family", "generators")
CODECS: Registry[Codec] = Registry(Codec, "codec", "codecs")
IMAGE_FORMATS: Registry[ImageFormat] = Registry(ImageFormat, "image format", "image_formats")
MATRIX_FORMATS: Registry[MatrixFormat] = Registry(MatrixFormat, "matrix format", "matrix_formats")
ARCHIVE_FORMS: Registry[ArchiveForm] = Registry(ArchiveForm, "form of archive", "archive_forms")
TASKS: Registry[Task] = Registry(Task, "task", "tasks")
AUTO = "auto"  # in the place of a method: the cheapest of those that declare what they cost


def svd_methods_for(method: str) -> list[SVDMethod]:
    """What a factorization by that method may run: the method itself, or all candidates of ``auto``."""
    if method != AUTO:
        return [SVD_METHODS.find(method)]
    return [declared for declared in SVD_METHODS.values() if declared.cost]


__all__ = [
    "ARCHIVE_FORMS",
    "AUDITS",
    "AUTO",
    "CODECS",
    "DENOISERS",
    "GENERATORS",
    "IMAGE_FORMATS",
    "MATRIX_FORMATS",
    "RANK_RULES",
    "SHRINKERS",
    "SVD_METHODS",
    "TASKS",
    "ArchiveForm",
    "Asked",
    "Audit",
    "Codec",
    "Declaration",
    "Denoiser",
    "Generator",
    "ImageFormat",
    "MatrixFormat",
    "NoOptions",
    "Options",
    "RankRule",
    "Registry",
    "SVDMethod",
    "Shrinker",
    "Task",
    "Threshold",
    "svd_methods_for",
]
