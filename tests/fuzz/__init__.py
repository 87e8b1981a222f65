"""The differential fuzzer: random models, ours against live lme4 and the dense oracle."""
