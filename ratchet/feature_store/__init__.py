"""The feature store, through Feast.

feature_store → the door · definitions → a use case as Feast objects · offline_reads → as of a time · online_reads → as of now
point_in_time_join → the join as SQL · feast_offline_store → Feast's class around it · feast_import → how Feast is imported
online_store, online_sqlite → the online stores · written_rows → what they hold · freshness → how old that is
upcoming_rows → future rows that follow from what is known now
"""
