"""The doctor: examines a data set in VOC layout, tells what it found, and writes a repaired copy."""
