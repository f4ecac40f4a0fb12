"""Methods of truncated SVD by name, a file each; the code stands in `svdflow.svd.methods`."""
