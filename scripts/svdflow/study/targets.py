"""What an archive can be asked to reach, before anything is read: bounds that no image or matrix can meet or miss."""

from svdflow.study.numerals import real, whole

LEAST_BYTES = 2048  # of the file of an archive: HDF5 alone takes more (2,226 of an array of one value)
MOST_DECIBELS = 320.0  # psnr of a double's last bit


def parse_target(text: str) -> tuple[str, float | int]:
    """The kind and the number of ``rel_error=1e-3`` and its like.

    Raises
    ------
    ValueError
        It is none, or one that nothing meets or that a constant would; the message says what to ask for.
    """
    kind, _, number = text.partition("=")
    if kind == "bytes":
        size = whole(number)
        if size < LEAST_BYTES:
            raise ValueError(
                f"{text} cannot be met: an archive of one value takes more than {LEAST_BYTES:,} bytes; allow more"
            )
        return kind, size
    value = real(number)
    if kind == "rel_error" and not 0 < value < 1:
        raise ValueError(
            f"{text}: quantized factors never reach 0, and nothing at all reaches 1; ask for between"
        )
    if kind == "psnr" and not 0 < value <= MOST_DECIBELS:
        raise ValueError(f"{text}: a PSNR lies above 0 and at most at {MOST_DECIBELS:g} dB; ask for between")
    if kind == "max_abs" and not value > 0:
        raise ValueError(f"{text} cannot be met: quantized factors lose a little; ask for more than 0")
    return kind, value
