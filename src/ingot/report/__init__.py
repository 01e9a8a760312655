"""What ingot tells about models, packages, speed and the machine: one module a command of the command line."""
