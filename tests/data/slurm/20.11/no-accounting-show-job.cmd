scontrol -o show job 2
