"""The feature store, through Feast.

feature_store → the door · definitions → a use case as Feast objects · offline_reads → as of a time
point_in_time_join → the join as SQL · feast_offline_store → Feast's class around it · feast_import → how Feast is imported
online_store, online_sqlite, online_redis → the online stores · written_rows → what they hold · freshness → how old that is
upcoming_rows → future rows that follow from what is known now
online_features → as of now, without Feast · stored_views, stored_rows → how views and rows are stored online
sqlite_rows, redis_rows, redis_connection → readers of rows · row_cache → rows in memory
circuit_breaker → a store that fails is left alone
"""
