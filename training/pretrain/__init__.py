"""Pretraining: batches of pairs, the loop over them, what it begins with, and what it will cost."""

from .batches import Batch, items_of_step, most_processes, read_ahead, split_rows, times_of
from .loop import DTYPES, Progress, build_model, make_learning, no_number, pretrain, require_device, train_step
from .plan import flops_per_pair, plan_run
from .start import begin
