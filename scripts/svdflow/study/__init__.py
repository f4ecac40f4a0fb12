"""What parsing a study needs: configuration, sheet, manifests, shards and digests.

Snakemake imports this at every start, so it uses the standard library, PyYAML and pydantic only.
"""
