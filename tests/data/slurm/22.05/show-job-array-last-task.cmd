scontrol -o show job 23
