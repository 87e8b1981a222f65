"""R embedded in this process: start, session, and conversion of values to and from R."""
