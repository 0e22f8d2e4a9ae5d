"""Devices over adb: emulators that the queue boots itself, and phones that are attached."""
