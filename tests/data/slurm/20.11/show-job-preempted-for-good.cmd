scontrol -o show job 60
