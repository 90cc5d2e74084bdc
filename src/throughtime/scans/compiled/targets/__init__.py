"""Languages a `Trace` is written in: each a table of operations, and what stands around them."""
