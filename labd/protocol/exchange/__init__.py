"""Protocol files laid out alike, and made of files of other programs."""
