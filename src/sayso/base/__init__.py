"""Shared by all stages: errors, files, the layout of a life, configs, logs, the device."""
