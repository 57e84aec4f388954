"""What all fault tests share."""
