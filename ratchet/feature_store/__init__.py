"""The feature store, through Feast.

feature_store → the door · definitions → a use case as Feast objects · reads → as of a time, offline and online
point_in_time_join → the join as SQL · feast_offline_store → Feast's class around it · upcoming → rows that are known to come
online_store, online_sqlite → which online stores there are · feast_import → how Feast is imported
"""
