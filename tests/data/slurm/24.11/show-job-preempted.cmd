scontrol -o show job 57
