"""What helps a person to write a use case: init → begin one from a CSV file · check → find what usually goes wrong with it."""
