"""Examine a data set in VOC layout, report what is wrong with it, and write a repaired copy."""
