"""One thread for each test process: the problems are small, and the processes share the cores."""

import torch

torch.set_num_threads(1)
