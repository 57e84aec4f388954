scontrol -o show job 22
