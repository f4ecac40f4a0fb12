"""A YAML file read strictly: what two readers would take for different things is refused with its line.

Snakemake has loaded the file before the workflow can look, and merged what stands twice in silence; so the text is
looked at again. PyYAML reads YAML 1.1, where ``no`` is false, ``010`` is eight and ``1:30`` is ninety; YAML 1.2 reads
a word, ten and a word.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from svdflow.errors import YamlError

MOST_NODES = (
    100_000  # aliases followed; a study has some hundred, and a nest of aliases has more than any memory
)
_FORMS = {
    "bool": (re.compile(r"true|false", re.IGNORECASE), "write true or false, or put a word in quotes"),
    "int": (re.compile(r"[-+]?(0|[1-9][0-9]*)"), "write a plain decimal number, or put a word in quotes"),
    "float": (
        re.compile(r"[-+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][-+]?[0-9]+)?|[-+]?[.](inf|nan)", re.IGNORECASE),
        "write a plain decimal number, or put a word in quotes",
    ),
    "timestamp": (re.compile(r"(?!)"), "put a date in quotes"),
}
_EXTENSION = "__use_yte__"


def read_yaml(path: Path) -> Any:
    """What a YAML file says.

    Raises
    ------
    YamlError
        The message names the line and what to do, not the file.
    OSError
        The file cannot be read.
    """
    if not path.is_file():
        path.stat()  # missing: say so as the system does
        raise YamlError("not a regular file; name a file with keys and values")
    return _read(path, path.stat().st_mtime_ns)


@cache
def _read(path: Path, _mtime: int) -> Any:
    try:
        return parse_yaml(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise YamlError(f"not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error


def parse_yaml(text: str) -> Any:
    """The value of one YAML document; see `read_yaml`."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node)
        _check(node, "")
        return loader.construct_document(node)
    except YamlError:
        raise
    except yaml.YAMLError as error:
        raise YamlError(f"not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise YamlError("nested too deeply; a study has three levels of keys") from error
    except ValueError as error:  # dates that no calendar has, numbers of thousands of digits
        raise YamlError(f"not valid YAML: {error}") from error


def _count(node: yaml.Node) -> None:
    """Refuse a document whose aliases contain themselves, or unfold to more than MOST_NODES."""
    sizes: dict[int, int] = {}

    def size(one: yaml.Node) -> int:
        if id(one) in sizes:
            if sizes[id(one)] < 0:
                raise YamlError(f"line {_line(one)}: an alias stands within what it names; write it out")
            return sizes[id(one)]
        sizes[id(one)] = -1
        inner = one.value if isinstance(one.value, list) else []
        parts = [part for entry in inner for part in (entry if isinstance(entry, tuple) else (entry,))]
        sizes[id(one)] = 1 + sum(size(part) for part in parts)
        return sizes[id(one)]

    if size(node) > MOST_NODES:
        raise YamlError(f"aliases unfold to more than {MOST_NODES:,} values; write them out")


def _check(node: yaml.Node, key: str) -> None:
    """Refuse keys that stand twice and scalars whose meaning depends on the reader."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise YamlError(f"line {_line(name)}: a key of '{key}' is a list or a mapping; write a word")
            _once(name, key, seen)
            _check(value, f"{key}.{name.value}" if key else name.value)
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            _check(value, f"{key}[{place}]")
    elif isinstance(node, yaml.ScalarNode) and node.style is None:
        form, remedy = _FORMS.get(node.tag.rpartition(":")[2], (None, ""))
        if form and not form.fullmatch(node.value):
            raise YamlError(
                f"line {_line(node)}: '{key}' is {node.value}, which some readers take for a word and some for "
                f"{_taken(node)}; {remedy}"
            )


def _once(name: yaml.ScalarNode, key: str, seen: dict[str, int]) -> None:
    where = f"{key}.{name.value}" if key else name.value
    if name.value == _EXTENSION:
        raise YamlError(
            f"line {_line(name)}: '{_EXTENSION}' makes a template of the file, which 'svdflow plan' does not run; "
            "write the values"
        )
    if name.value in seen:
        raise YamlError(
            f"line {_line(name)}: key '{where}' stands twice, first in line {seen[name.value]}, and the first value "
            "would be lost; keep one of them"
        )
    seen[name.value] = _line(name)


def _taken(node: yaml.ScalarNode) -> str:
    """What PyYAML makes of a scalar, in words."""
    try:
        return str(yaml.safe_load(node.value))
    except (ValueError, yaml.YAMLError):
        return f"another {node.tag.rpartition(':')[2]}"


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1
