scontrol -o show job 47
