"""Ids to batches: token shards on disk; rows of text, conversations and pairs in an order determined by a seed."""
