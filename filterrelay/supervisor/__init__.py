"""The processes: one supervisor, several workers, one control process."""
