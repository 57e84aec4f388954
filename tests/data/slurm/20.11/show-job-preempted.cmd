scontrol -o show job 59
