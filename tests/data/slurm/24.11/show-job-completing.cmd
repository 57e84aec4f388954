scontrol -o show job 49
