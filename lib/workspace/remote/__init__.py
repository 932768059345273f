"""A git remote that the workspace follows and is pushed to; a person's way to work on it."""
