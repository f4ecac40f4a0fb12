#!/usr/bin/env bash
# A module that a checkout no longer has is imported from another checkout, the one that was installed editable.
#
# setuptools 80.9.0 maps a package in a folder of another layout by a finder behind all others. PYTHONPATH puts another
# checkout first, and its modules are taken; but one that is missing there, because it was moved or deleted, is found by
# its full name in the installed checkout. Tests of the other checkout then pass with code that it does not hold.
#
# Source: "Development Mode" in setuptools' documentation names import hooks as a way of editable installs, not this; the
# finder answers for every name that begins with a mapped package (setuptools/command/editable_wheel.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check setuptools==80.9.0

mkdir -p "$folder/installed/scripts/house"
cd "$folder/installed"
touch scripts/house/__init__.py
echo 'WHERE = "installed"' > scripts/house/kept.py
echo 'WHERE = "installed"' > scripts/house/moved.py
cat > pyproject.toml <<'TOML'
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "house"
version = "1"
[tool.setuptools]
packages = ["house"]
package-dir = { house = "scripts/house" }
TOML
"$folder/venv/bin/pip" install -q --disable-pip-version-check --no-build-isolation -e .

cp -r "$folder/installed" "$folder/other"
cd "$folder/other"
echo 'WHERE = "other"' > scripts/house/kept.py
rm scripts/house/moved.py # as git does when the module has another name on this branch
PYTHONPATH=scripts "$folder/venv/bin/python" - <<'PYTHON'
import house.kept

assert house.kept.WHERE == "other", "PYTHONPATH comes first"
import house.moved  # the checkout has no such file

print("house.kept of the checkout:", house.kept.__file__)
print("house.moved of another one:", house.moved.__file__)
assert house.moved.WHERE == "installed" and house.__path__ == [house.kept.__file__.rpartition("/")[0]]
PYTHON
