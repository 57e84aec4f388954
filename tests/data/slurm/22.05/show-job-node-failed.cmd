scontrol -o show job 53
