#!/usr/bin/env bash
# --slurm-no-account of Snakemake's executor for Slurm is accepted, documented, and does nothing.
#
# snakemake-executor-plugin-slurm 2.8.0, Snakemake 9.27.1. Its help says "Do not use any account for submission". No code
# reads it: with the option the executor still says that it guesses an account, asks sacct and sacctmgr for one, and puts
# what they name behind `sbatch -A`. On a cluster whose accounting names an account that may not submit, the option cannot
# keep a job from failing; name the account with `--default-resources slurm_account=...` instead.
#
# Source: observed; ExecutorSettings.no_account in the package's __init__.py, which occurs nowhere else in it.
set -euo pipefail
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -qq snakemake==9.27.1 snakemake-executor-plugin-slurm==2.8.0
# A Slurm of shell scripts: accounting names the account "guessed", and sbatch notes what it was called with and refuses.
mkdir "$work/bin" && cd "$work"
for name in sacct sacctmgr; do printf '#!/bin/sh\necho guessed\n' >"bin/$name"; done
printf '#!/bin/sh\necho MaxArraySize = 1001\n' >bin/scontrol
printf '#!/bin/sh\ntrue\n' >bin/squeue
cp bin/squeue bin/sinfo && cp bin/squeue bin/scancel
printf '#!/bin/sh\necho "$@" >>"%s/calls"\nexit 1\n' "$work" >bin/sbatch
chmod +x bin/*
printf 'rule all:\n    output: "out"\n    shell: "touch {output}"\n' >Snakefile
PATH="$work/bin:$work/venv/bin:$PATH" HOME="$work" "$work/venv/bin/snakemake" --executor slurm --jobs 1 \
  --slurm-no-account --slurm-status-command squeue --default-resources slurm_partition=p mem_mb=100 runtime=1 \
  >said 2>&1 || true
grep -o "No SLURM account given, trying to guess.\|Guessed SLURM account: guessed" said | sort | uniq
grep -o -- "-A guessed" calls | sort | uniq
[ "$(grep -c 'Guessed SLURM account: guessed' said)" -ge 1 ] && grep -q -- "-A guessed" calls
