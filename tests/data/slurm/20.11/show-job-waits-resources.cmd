scontrol -o show job 33
