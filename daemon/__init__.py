"""Everything that runs: command line, composition root."""

import os

# numpy asks the kernel for huge pages for large arrays. On a virtual machine their first touch cost four to five
# times as much as that of ordinary pages (64 MB: 170 ms against 31 ms), and this program fills each array once.
# To be set before numpy is imported; an explicit setting of the user's stays.
os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
