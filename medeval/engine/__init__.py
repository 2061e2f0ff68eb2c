"""Executes suites: plan, run, resume, score again, merge, sum up."""
