"""Measurements that the documents quote, each run by one command."""
