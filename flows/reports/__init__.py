"""What is printed or shown: screens, tables, progress."""
