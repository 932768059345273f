"""Everything that exists without HTTP, and the web kernel that serves it."""
