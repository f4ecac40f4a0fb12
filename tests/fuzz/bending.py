"""How a valid file is bent: what hypothesis draws, applied to its bytes."""

import struct
import zlib
from pathlib import Path

from hypothesis import strategies as st

INTERESTING = [
    0,
    1,
    2,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63 - 1,
    2**64 - 1,
]
WORDS = [
    b"-1", b"0", b"1e999", b"nan", b"-inf", b"99999999999999999999", b"%", b"\t", b"\n", b"\r\n", b'"', b"'", b"\\",
    b"{", b"}", b"[", b"]", b":", b"&a ", b"*a", b"!!binary ", b"\x00", b"\x1b[31m", "١".encode(), b"\xff", b"../",
    b"=", b";", b",,", b"#",
]  # fmt: skip
PLACE = st.floats(0, 1, exclude_max=True)
STEP = st.one_of(
    st.tuples(st.just("flip"), PLACE, st.integers(0, 7)),
    st.tuples(st.just("byte"), PLACE, st.integers(0, 255)),
    st.tuples(
        st.just("number"), PLACE, st.sampled_from(INTERESTING), st.sampled_from("BHIQ"), st.sampled_from("<>")
    ),
    st.tuples(st.just("cut"), PLACE),
    st.tuples(st.just("drop"), PLACE, st.integers(1, 64)),
    st.tuples(st.just("double"), PLACE, st.integers(1, 256)),
    st.tuples(st.just("zero"), PLACE, st.integers(1, 512)),
    st.tuples(st.just("word"), PLACE, st.sampled_from(WORDS)),
    st.tuples(st.just("swap"), PLACE, PLACE, st.integers(1, 64)),
)
# Half of the places near the start, where formats say how large they are.
STEPS = st.lists(st.tuples(STEP, st.booleans()), min_size=1, max_size=6)


def bent(content: bytes, steps: list) -> bytes:
    """`content` after these steps; a PNG gets the checksums that its chunks then need."""
    data = bytearray(content)
    for step, early in steps:
        if data:
            _apply(data, step, min(len(data), 512) if early else len(data))
    return _with_checksums(bytes(data)) if data[:8] == b"\x89PNG\r\n\x1a\n" else bytes(data)


def bend(path: Path, draw) -> str:
    """Bend a file, or one of the files of a folder; says which and how."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    file = draw(st.sampled_from(files))
    steps = draw(STEPS)
    file.write_bytes(bent(file.read_bytes(), steps))
    return f"{file.name}: {steps}"


def _apply(data: bytearray, step: tuple, span: int) -> None:
    kind, at, *rest = step
    place = int(at * span)
    if kind == "flip":
        data[place] ^= 1 << rest[0]
    elif kind == "byte":
        data[place] = rest[0]
    elif kind == "number":
        value, size, order = rest
        width = struct.calcsize(size)
        data[place : place + width] = struct.pack(order + size, value % 256**width)
    elif kind == "cut":
        del data[place:]
    elif kind == "drop":
        del data[place : place + rest[0]]
    elif kind == "double":
        data[place:place] = data[place : place + rest[0]]
    elif kind == "zero":
        data[place : place + rest[0]] = bytes(len(data[place : place + rest[0]]))
    elif kind == "word":
        data[place : place + len(rest[0])] = rest[0]
    elif kind == "swap":
        other, length = int(rest[0] * span), rest[1]
        part = bytes(data[other : other + length])
        data[place : place + len(part)] = part


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what they hold, so that the fault lies deeper."""
    parts, place = [data[:8]], 8
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        end = place + 8 + length
        if end + 4 > len(data):
            break
        body = data[place + 4 : end]
        parts += [data[place : place + 4], body, zlib.crc32(body).to_bytes(4, "big")]
        place = end + 4
    return b"".join([*parts, data[place:]])
