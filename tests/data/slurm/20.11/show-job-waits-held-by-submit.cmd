scontrol -o show job 36
