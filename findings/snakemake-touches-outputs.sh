#!/usr/bin/env bash
# Snakemake dates every output anew when its job is done, files only: what a folder output holds keeps its dates.
#
# snakemake 9.27.1. After a successful job the files among its outputs are touched, so that their time of last change is
# that of Snakemake's bookkeeping. Whoever writes a file in a job and remembers its date, as make, rsync and caches by
# (size, mtime) do, finds it changed though nobody changed it. A directory() output is not touched and the files in it
# neither: it gets a hidden file .snakemake_timestamp, also where the folder is to be empty, and an "empty" test that
# counts entries fails.
#
# Source: observed; `check_and_touch_output` in snakemake/dag.py says that clocks of clusters are the reason.
set -euo pipefail
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -qq snakemake==9.27.1
cd "$work"
cat > Snakefile <<'RULES'
rule all:
    input: "a.txt", "folder", "empty"

rule write:
    output: "a.txt", directory("folder"), directory("empty")
    shell:
        """
        mkdir folder empty
        touch -d 2020-01-01T00:00:00Z a.txt folder/b.txt
        """
RULES
"$work/venv/bin/snakemake" --cores 1 --quiet all
python3 - <<'PY'
import os
import time

year = {name: time.gmtime(os.stat(name).st_mtime).tm_year for name in ("a.txt", "folder/b.txt")}
print(f"both were dated 2020 by the job; now {year}; the empty folder holds {os.listdir('empty')}")
assert year["a.txt"] > 2020 and year["folder/b.txt"] == 2020 and os.listdir("empty") == [".snakemake_timestamp"]
PY
