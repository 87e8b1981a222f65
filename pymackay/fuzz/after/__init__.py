"""What is done with fits of random models: predictions, tests, intervals, files, partitions."""
