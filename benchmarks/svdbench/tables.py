"""Tables in Markdown, and pages of which a part between two markers is made of results."""

from collections.abc import Sequence


def line_of(texts: Sequence[str]) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"


def lines_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(line_of(row) for row in [head, ["---"] * len(head), *rows])


def marked(text: str, missed: bool) -> str:
    """Bold where a figure is not what was asked."""
    return f"**{text}**" if missed else text


def replaced(page: str, part: str, begin: str, end: str) -> str:
    """The page with what stands between the markers replaced, or put at its end where there are none."""
    part = f"{begin}\n{part}\n{end}"
    if begin in page and end in page:
        return page[: page.index(begin)] + part + page[page.index(end) + len(end) :]
    return (page.rstrip() + "\n\n" if page.strip() else "# Benchmarks\n\n") + part + "\n"
