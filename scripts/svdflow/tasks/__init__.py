"""What a dataset can ask for: each task works on the shards of a dataset and leaves tables and pictures."""
