"""What is kept, and where: ports, and an adapter folder for each kind of store."""
