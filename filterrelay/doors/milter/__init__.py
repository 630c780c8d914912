"""The milter door: what a mail server asks step by step, and what it is told to change."""
