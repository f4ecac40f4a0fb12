"""One read of a matrix: what is done with its panels, and how their sums are added up."""
