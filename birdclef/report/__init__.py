"""The report's pages, pictures and examples of errors."""
