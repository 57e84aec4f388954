scontrol -o show job 54
