"""Object stores and web servers as places of files, through obstore."""
