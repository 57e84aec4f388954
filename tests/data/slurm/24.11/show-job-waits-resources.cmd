scontrol -o show job 31
