scontrol -o show job 40
