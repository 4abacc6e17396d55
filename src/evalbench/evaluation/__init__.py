"""A whole evaluation: plan and check all cells, train them, write the folder and the report.

It needs neither Hydra nor a console. The command line and the Python API are its clients.
"""
