#!/usr/bin/env bash
# glob finds a file 41 times where its folder holds a link to itself; pathlib finds it once, and nothing behind links.
#
# CPython 3.11. glob.glob("**/*.png", recursive=True) follows links to folders and keeps no record of those it has
# been in: a link upwards is entered again and again until the operating system refuses the path (40 links on Linux), and
# two such links double the work at each step, which does not end in practice. Every round trip is a name of its own, so
# that a file list made in this way counts files many times. pathlib's `**` does not enter linked folders by default, so
# that the two disagree on harmless links as well. Photo collections and conda environments hold such links.
#
# Source: observed; the library reference says that `**` follows links and may take an inordinate time.
set -euo pipefail
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
mkdir -p "$work/photos" "$work/more"
touch "$work/photos/a.png" "$work/more/b.png"
ln -s . "$work/photos/here"
ln -s ../more "$work/photos/more"
python3 - "$work/photos" <<'PY'
import glob
import os
import sys
from pathlib import Path

os.chdir(sys.argv[1])
found = glob.glob("**/*.png", recursive=True)
a = [name for name in found if name.endswith("a.png")]
beyond = [name for name in found if name.endswith("b.png")]
print(f"glob: a.png {len(a)} times, the longest way {max(map(len, a))} characters; b.png {len(beyond)} times")
paths = sorted(map(str, Path().glob("**/*.png")))
print(f"Path.glob: {paths}")
assert len(a) == 41 and len(beyond) == 40 and paths == ["a.png"]
PY
