"""How much a file may ask of us. Beyond these a scan is refused with a reason, before memory or time is spent on it."""

MAX_FILE_BYTES = 2 * 2**30  # one file, as it lies on disk
MAX_FRAME_PIXELS = 120_000_000  # one radiograph or slice; the largest detectors give 20 million
MAX_VOLUME_PIXELS = (
    500_000_000  # all slices of a series that would be decoded at once: 2 GB as float32, within a worker's memory
)
MAX_INFLATED_BYTES = 2 * 2**30  # of a deflated DICOM file, a compressed NIfTI, or one member of a zip
MAX_BUNDLE_BYTES = 8 * 2**30  # all members of a zip together
MAX_BUNDLE_FILES = 20_000  # files of a folder or zip
