"""Label Studio's ML backend: ``config`` reads a project's labels, ``images`` a task's image, ``routes`` has the addresses."""
