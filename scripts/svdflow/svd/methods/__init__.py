"""The methods of `truncated_svd`, one file each."""
