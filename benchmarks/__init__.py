"""Compare the speed of evalbench with its peers: `make bench`."""
