"""http: the face for people and programs; what is asked becomes a command or a view, nothing is decided here."""
