"""Does a model know what it knows? Questions made from a corpus, the replies to them, and how sure it was of each."""
