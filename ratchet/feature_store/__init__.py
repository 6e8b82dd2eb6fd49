"""The feature store, through Feast.

definitions → a use case as Feast objects · reads → as of a time, offline and online · point_in_time_join → the join as SQL ·
feast_offline_store → Feast's class around it · upcoming → rows that are known to come · feast_import → how Feast is imported
"""
