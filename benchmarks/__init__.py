"""How fast evalbench is beside its peers: `make bench`."""
