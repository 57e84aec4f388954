scontrol -o show job 44
