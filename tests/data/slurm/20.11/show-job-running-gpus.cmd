scontrol -o show job 16
