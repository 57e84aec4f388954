scontrol -o show job 55
