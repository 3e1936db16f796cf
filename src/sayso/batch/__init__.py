"""Ids to batches: token shards on disk, and rows for text, conversations and pairs in an order fixed by a seed."""
