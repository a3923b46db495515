"""truetape records exchanges, declares every hole, and keeps the data queryable."""
