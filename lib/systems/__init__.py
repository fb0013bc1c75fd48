"""Text-to-speech systems and the recogniser, all behind one small protocol: see `base.System`."""
