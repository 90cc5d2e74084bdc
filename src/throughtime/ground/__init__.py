"""What everything else stands on: errors, the terminal, files, the cache, lengths, the machine."""
