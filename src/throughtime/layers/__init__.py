"""What models are made of: stacks of cells, and what stands before and after them."""
