"""From the tables of an evaluation to findings: every number of a report, before a word is written."""
