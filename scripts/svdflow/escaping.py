"""Text of users on its way out: one function a format, so that a file name is only ever read, never obeyed.

Every writer of the workflow calls one of these: `visible` for terminals, logs and JSON, `csv_cell`, `markdown`,
`xml` (which serves HTML attributes and SVG too). Jinja's own escaping does HTML; `svdflow.report.page` adds `visible`.
"""

import re
import unicodedata
from html import escape
from typing import Any

# Controls, characters of direction, lone surrogates, what is no character, and separators of lines.
_HIDDEN = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # category Cf, and kept: Persian words and emoji need them
# Spreadsheets take a cell for a formula by its first character, of the usual or of full width. Where the decimal mark
# is a comma they cut at semicolons, so what follows one begins a cell too.
_FORMULA = re.compile(r"(^|;)(?=\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20])")
_NUMBER = re.compile(r"[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|nan)", re.ASCII)
# What is markup in CommonMark and its dialects of tables, strikethrough, mathematics, mentions and bare links.
_ACTIVE = re.compile(
    r"[\\`*\[\]<>&|~$@#!^={}]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|:(?=//)|(?<=www)[.]|^[-+](?=\s)|^[0-9]+[.)](?=\s)",
    re.IGNORECASE,
)


def visible(text: object, keep: str = "") -> str:
    """`text` with every character that does not show as its escape: ESC becomes ``\\x1b``, a line break ``\\n``.

    Control characters steer a terminal and are not allowed in XML; characters of direction (U+202E) show a name in
    another order than it has; lone surrogates, which stand for bytes that are not UTF-8, cannot be encoded.

    Parameters
    ----------
    keep : str
        Characters that stay as they are, such as ``"\\n"`` in text of several lines.
    """
    words = str(text)
    if words.isprintable():
        return words
    return "".join(c if c in keep or not _hidden(c) else _named(c) for c in words)


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file: text that a spreadsheet would run begins with an apostrophe; numbers stay numbers."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    return _FORMULA.sub(r"\1'", visible(value))


def markdown(text: object) -> str:
    """One line of plain text in Markdown, a cell of a table included.

    Active characters become numeric references, which can never act as markup (CommonMark 0.31, section 2.5);
    ``html.unescape`` gives the text back.
    """
    words = visible(" ".join(str(text).split()))
    return _ACTIVE.sub(lambda found: "".join(f"&#{ord(c)};" for c in found[0]), words)


def xml(text: object) -> str:
    """Text, or an attribute in either kind of quotes, of XML, HTML and SVG."""
    return escape(visible(text), quote=True)


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN and character not in _JOINERS


def _named(character: str) -> str:
    """The escape of a character as Python writes it."""
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
