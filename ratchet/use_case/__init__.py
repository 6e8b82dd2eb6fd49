"""The contract of a use case, and the helpers to declare one.

contract → what a use case declares · batch → what its sources deliver · columns → names that pipelines share
request_fields → a request model as columns · row_key → the identity of a row
windows → features over trailing windows · newest → the newest state of something
single_table → a use case of one table
upstream → features that another system computed
"""
