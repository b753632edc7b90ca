"""The steps that carry a submission: one module each, all working on one `Context`."""
