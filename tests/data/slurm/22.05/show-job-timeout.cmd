scontrol -o show job 41
