scontrol -o show job 48
