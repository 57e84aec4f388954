scontrol -o show job 43
