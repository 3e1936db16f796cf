"""Detectors of misbehaviour: small pure functions of a reply with its conversation, each with a name and a version."""
