"""Large crossed generalised models: iterative solves, random probes."""
