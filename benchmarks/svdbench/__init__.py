"""What `benchmarks/svd.py` measures with: matrices of known spectrum, accuracy, timing, cases and their report."""
