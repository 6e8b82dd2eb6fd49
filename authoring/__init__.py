"""Help a person to write a use case: init → begin one from a CSV file · check → find its usual mistakes."""
