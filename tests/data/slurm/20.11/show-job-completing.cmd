scontrol -o show job 51
