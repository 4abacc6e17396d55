"""The sections of a report, one file each: what a section needs, its text, tables and figures."""
