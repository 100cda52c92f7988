"""The only part that starts anything: engines, their logs, dry runs, load tests."""
