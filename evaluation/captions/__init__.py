"""Captions: made by a captioner, held against references and facts, audited for what nothing supports."""
