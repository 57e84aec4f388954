scontrol -o show job 52
