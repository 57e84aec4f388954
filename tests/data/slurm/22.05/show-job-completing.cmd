scontrol -o show job 50
