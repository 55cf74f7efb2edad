"""The codecs floor."""
