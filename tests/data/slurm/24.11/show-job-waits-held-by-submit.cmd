scontrol -o show job 34
