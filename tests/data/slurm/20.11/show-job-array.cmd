scontrol -o show job 24
