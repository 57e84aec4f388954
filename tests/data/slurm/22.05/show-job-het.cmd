scontrol -o show job 30
