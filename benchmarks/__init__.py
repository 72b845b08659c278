"""The benchmarks that `make bench` runs. Every number in the README was printed by one of these modules."""
