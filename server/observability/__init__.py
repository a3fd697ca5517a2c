"""Metrics for Prometheus, log lines, trace ids."""
