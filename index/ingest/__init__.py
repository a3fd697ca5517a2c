"""Files in, items in a collection: scan, read, embed, write; also watching folders and re-embedding."""

from .fill_pictures import Filled, fill_pictures
from .folder import Step, index_folder
from .folding import fold
from .options import IngestOptions
from .pipeline import FileProgress, ingest_file
from .reader import Task
from .reembed import open_both, reembed, switch
from .report import Report, passed_over
from .scan import Walk, walk
from .watch import Changes, watched
