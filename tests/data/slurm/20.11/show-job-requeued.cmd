scontrol -o show job 56
