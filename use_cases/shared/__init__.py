"""What several use cases share: source tables and feature views. They import nothing else of one another."""
