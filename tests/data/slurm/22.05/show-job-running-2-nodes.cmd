scontrol -o show job 14
