scontrol -o show job 1
