"""vicmae: vectors for images and clips, and the index that finds where they were seen."""
