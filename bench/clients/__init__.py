"""Clients that people bring, each run against `sayso serve` unchanged: see `bench.clients.run`."""
