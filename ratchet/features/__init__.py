"""How features, requests and labels are computed from source rows.

expressions → compiled once · source_rows → accepted rows bound to them · service → a model's contract with the feature store ·
on_demand → what these functions may import, and their fingerprint · leak_check, leak_evidence → whether any uses the future
extent → up to when the offline store has them
upstream_files, upstream_columns, upstream_rows → features in the files of another system
upstream_registration → the proof that these rows are still there · upstream_sensor → what DVC sees of them
"""
