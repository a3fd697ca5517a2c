"""Fine-tuning: labelled items and a pretrained encoder -> a classifier, and its test."""

from .data import Task, load_task
from .loop import Progress, build_classifier, finetune, network_values, require_rows, side_of
from .multiview import Scores, judge
from .recipe import ImageTuning, VideoTuning, load_image_tuning, load_video_tuning
