"""What packaging/build does, a file for each kind of thing that it makes."""
