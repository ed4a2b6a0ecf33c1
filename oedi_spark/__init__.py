"""NREL's End-Use Load Profiles, rolled up to hours, as Apache Iceberg tables.

config → indexer → reader → rollup → quality → writer → tracker
"""

__version__ = "0.1.0"
