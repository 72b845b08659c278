"""What is kept, and for how long: what goes by age and size, what a person has had erased, backup and restore."""
