"""From a table of trials to effects and intervals: pure functions on numpy and pandas, which print and draw nothing."""
