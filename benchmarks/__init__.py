"""Measurements that the README quotes: `make bench-attacks`, `make bench-training`, `make bench-robust`."""
