"""What can be chosen by name: declarations that say what a thing is, and where the code stands that does it.

A denoiser, rank rule, format, task and so on is declared in a module of the subpackage of its kind (a list
``DECLARED``), or by another distribution through an entry point of the group ``svdflow.denoisers`` and so on.
Declarations import nothing heavy, so that configuration, help and cost estimates are read off them while a workflow is
parsed; the code is imported when it is used. docs/contributing.md has a recipe for each kind.

>>> DENOISERS["wnnm"].works_on
'picture'
"""

from svdflow.registry.declaration import Declaration, Registry
from svdflow.registry.kinds import Denoiser, RankRule, Shrinker
from svdflow.registry.options import NoOptions, Options

DENOISERS: Registry[Denoiser] = Registry(Denoiser, "denoiser", "denoisers")
RANK_RULES: Registry[RankRule] = Registry(RankRule, "rank rule", "rank_rules")
SHRINKERS: Registry[Shrinker] = Registry(Shrinker, "loss", "shrinkers")

__all__ = [
    "DENOISERS",
    "RANK_RULES",
    "SHRINKERS",
    "Declaration",
    "Denoiser",
    "NoOptions",
    "Options",
    "RankRule",
    "Registry",
    "Shrinker",
]
