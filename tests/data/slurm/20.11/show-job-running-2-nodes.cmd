scontrol -o show job 15
