"""Every exception and warning of svdflow, all of them a `SvdflowError` or a `SvdflowWarning`."""

from collections.abc import Sequence

from svdflow.escaping import visible


class SvdflowError(Exception):
    """Something that svdflow refuses or cannot do; the message names it and says what to do."""


class SvdflowWarning(UserWarning):
    """Something that a user has to know of a result that was delivered."""


class StepTooFineError(SvdflowError, ValueError):
    """Codes at this step are wider than an archive holds."""


class UnreachableTargetError(SvdflowError, ValueError):
    """No step reaches the goal; `least` is what the finest gave."""

    def __init__(self, least: float) -> None:
        super().__init__(f"least possible is {least:.4g}")
        self.least = least


class ArchiveWarning(SvdflowWarning):
    """An archive keeps little of what was encoded, as its target allows."""


class BackendError(SvdflowError, RuntimeError):
    """The asked backend cannot compute here; the message says why and what to do."""


class DeviceMemoryError(SvdflowError, MemoryError):
    """The device has too little memory even for one panel at a time; the message says what to do."""


class EngineLostError(SvdflowError, RuntimeError):
    """What a factorization ran on is gone; the message says what, and what is kept for another run."""


class WorkersLostError(EngineLostError):
    """A dask cluster has no worker any more, or a task is lost with every worker that takes it on."""


class SchedulerLostError(EngineLostError):
    """The scheduler of a dask cluster does not answer any more."""


class AuditInputError(SvdflowError, ValueError):
    """What was given cannot be audited."""


class InvalidParameterError(SvdflowError, ValueError, TypeError):
    """An argument has a type or a value that the function does not take; scikit-learn's error has the same bases."""


class MaskedError(SvdflowError, ValueError):
    """Values are missing (masked, or the fill value of a file); the message says how many and what to do."""

    code = "masked"


class LossyIntegerError(SvdflowError, ValueError):
    """Integers that float64 does not hold; the message says how many and names the largest."""

    code = "integer_overflow"


class MarketError(SvdflowError, ValueError):
    """Text that no parser should see; the message names the file and repeats nothing of it."""


class ConventionError(SvdflowError, ValueError):
    """Attributes say that stored numbers are not the values, in a way that is not decoded here."""

    code = "convention"


class UnwrittenError(SvdflowError, ValueError):
    """Values that nobody wrote; the message says how many and where they should be."""

    code = "unwritten"


class FilterError(SvdflowError, ValueError):
    """A chunk cannot be decoded."""


class LinkError(SvdflowError, ValueError):
    """A file refers to another one that is not there, or lies outside its folder."""

    code = "link"


class NonFiniteError(SvdflowError, ValueError):
    """The matrix holds NaN or infinity; the message names the rows (or columns)."""


class SourceError(SvdflowError, ValueError):
    """A source gave other panels than it promised; the message names the panel."""

    code = "source"


class DeclaredSizeError(SvdflowError, ValueError):
    """A header declares more than the file can hold, or than memory has."""

    code = "declared_size"


class ConvergenceWarning(SvdflowWarning):
    """Factors are less accurate than was asked for, or nothing shows that they are not; the message says which."""


class MemoryLimitError(SvdflowError, MemoryError):
    """The factorization needs more memory than it may take; the message says how much."""


class BreakdownError(SvdflowError, ArithmeticError):
    """Columns are linearly dependent to rounding."""


class ClusterError(SvdflowError, ArithmeticError):
    """Singular values so close to each other, or to zero, that their vectors have no derivative to rounding."""


class ConfigError(SvdflowError, ValueError):
    """A study that cannot run as written; each line names a place and what to do, with control characters escaped."""

    def __init__(self, *lines: object) -> None:
        super().__init__("\n".join(map(visible, lines)))


class FamilyError(SvdflowError, ValueError):
    """A family or parameter that does not exist, or a value that it cannot take."""


class YamlError(SvdflowError, ValueError):
    """Text that is no YAML or that is read in two ways; the message names line, key and what to write."""


class RegistryError(SvdflowError, ValueError):
    """A name that nothing bears, or that two things bear; the message gives the nearest one, or both."""


class StoreError(SvdflowError, RuntimeError):
    """A result file is missing, unfinished, damaged or of another kind; the message names it."""


class NotOursError(StoreError, ValueError):
    """A file or folder that svdflow did not write, or that was changed since, stands where one would be written."""


class DamagedError(StoreError):
    """A file that svdflow published is not what it was when it was published."""


class MissingError(DamagedError, KeyError):
    """A published file lacks a group, an array or an attribute."""

    __str__ = StoreError.__str__


class WriteError(SvdflowError, OSError):
    """A result could not be written: a full disk, a quota, a read-only or failing disk. Never the fault of an item."""

    def __str__(self) -> str:
        return self.strerror or super().__str__()


class ItemError(SvdflowError):
    """One item cannot be processed; its neighbours can.

    Parameters
    ----------
    code : str
        Short snake_case cause, for counting: ``truncated``, ``decompression_bomb``, ...
    message : str
        What was wrong and what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class TargetsMissedError(ItemError):
    """No archive of some planes of an item reaches the target."""

    def __init__(self, target: str, planes: Sequence[str]) -> None:
        super().__init__(
            "target_not_met",
            f"no archive reaches {target} for {', '.join(planes)}; the log names the least possible: "
            "ask for less in encode.target",
        )
