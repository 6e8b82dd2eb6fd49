"""Source tables and feature views that several use cases share. Use cases import nothing else from one another."""
