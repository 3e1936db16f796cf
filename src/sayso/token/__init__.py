"""Documents to ids and back: byte-pair, word and character tokenizers behind one interface, and chat templates."""
