"""The figures of `report.html`, one file per figure, made of the numbers behind the figures of `report.md`."""
