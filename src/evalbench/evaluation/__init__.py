"""One whole evaluation: planned and checked before the first cell trains, concluded by its folder and report.

It needs neither Hydra nor a console: the command line and Python are its clients.
"""
