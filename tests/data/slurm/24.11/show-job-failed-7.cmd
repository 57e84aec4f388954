scontrol -o show job 42
