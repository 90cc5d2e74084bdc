"""From files to tensors: text, vocabulary, encoded corpora, streams."""
