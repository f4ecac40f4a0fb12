"""The denoisers, one a file; `svdflow.registry.denoisers` declares them, and their files are imported when used."""
