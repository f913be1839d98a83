"""What Linux says of interfaces, sockets and files."""
