scontrol -o show job 29
