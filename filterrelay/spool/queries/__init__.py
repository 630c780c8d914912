"""The spool's SQL: one file a schema step, and one of named statements a database."""
